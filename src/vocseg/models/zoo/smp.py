"""The networks of segmentation_models_pytorch, ``arch:encoder``, with its encoders or timm's (``tu-NAME``)."""

from __future__ import annotations

import contextlib
import logging
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any, ClassVar

from torch import Tensor, nn

from vocseg.errors import ModelError, nearest
from vocseg.models.base import IMAGENET_MEAN, IMAGENET_STD, ModelInfo, Padding, SegmentationModel, Triple
from vocseg.models.packaged_weights import MEAN, STD, package_of, packaged_weights
from vocseg.ops.low_res_logits import LowResLogits


class SmpModel(SegmentationModel):
    """An smp network, padded to its stride; :meth:`upsample` does the upsampling that smp's head ends in."""

    align_corners: ClassVar[bool] = True
    backbone_layers: ClassVar[tuple[str, ...]] = ("encoder",)
    feature_layers: ClassVar[dict[str, str]] = {"encoder": "encoder"}

    def __init__(self, network: nn.Module, info: ModelInfo, class_layers: tuple[str, ...], padding: Padding) -> None:
        super().__init__(network, info, class_layers, padding)
        self.factor = _take_upsampling(network)

    def upsample_to_padded(self, values: Tensor, size: tuple[int, int]) -> LowResLogits:
        own = (int(values.shape[-2] * self.factor), int(values.shape[-1] * self.factor))
        return LowResLogits(values).upsampled(own, self.align_corners)


class OwnSmpModel(SegmentationModel):
    """An smp network of the user's, unchanged, padded to its stride."""

    backbone_layers: ClassVar[tuple[str, ...]] = ("encoder",)
    feature_layers: ClassVar[dict[str, str]] = {"encoder": "encoder"}


def _take_upsampling(network: nn.Module) -> float:
    """Remove the upsampling from smp's usual head and return its factor; 1 if the network ends in another way."""
    from segmentation_models_pytorch.base import SegmentationHead, SegmentationModel

    head = network.segmentation_head
    if type(network).forward is not SegmentationModel.forward or not isinstance(head, SegmentationHead):
        return 1
    layer = head[1]
    if not isinstance(layer, nn.Upsample) or not layer.align_corners:
        return 1
    head[1] = nn.Identity()
    assert isinstance(layer.scale_factor, float)
    return layer.scale_factor


SMALLEST = {"pan": 128}
"""Smallest sides of architectures whose pooling fails below them."""

STRIDES = {"dpt": 32}
"""Strides of architectures that smp does not report: DPT halves its features once more than its encoder."""

OPTIONS = {"dpt": {"dynamic_img_size": True}}
"""Arguments that let an architecture take any image size."""


class SmpFamily:
    """Weights: ``backbone``, the encoder's ImageNet weights and a random decoder."""

    title = "segmentation_models_pytorch"
    weights: tuple[str, ...] = ("backbone", "none")

    def architectures(self) -> list[str]:
        import segmentation_models_pytorch as smp

        return list(smp.MODEL_ARCHITECTURES_MAPPING)

    def encoders(self) -> list[str]:
        import segmentation_models_pytorch as smp

        return sorted(smp.encoders.get_encoder_names())

    def names(self) -> list[str]:
        return [f"{architecture}:{encoder}" for architecture in self.architectures() for encoder in self.encoders()]

    def build(self, name: str, classes: tuple[str, ...], weights: str) -> SegmentationModel:
        import segmentation_models_pytorch as smp

        architecture, _, encoder = name.partition(":")
        self._check(architecture, encoder)
        packaged = _packaged(encoder) if weights == "backbone" else None
        pretrained = _pretrained_name(encoder) if weights == "backbone" and packaged is None else None
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if packaged is None else (MEAN, STD)
        try:
            with _offline_if_unreachable():
                network = smp.create_model(
                    architecture,
                    encoder,
                    encoder_weights=True if pretrained and encoder.startswith("tu-") else pretrained,
                    classes=len(classes),
                    **OPTIONS.get(architecture, {}),
                )
                if pretrained:
                    mean, std = _normalization(encoder, pretrained)
        except OSError as error:
            if pretrained is None:
                raise
            raise _cannot_download(encoder, pretrained, error) from error
        except (KeyError, ValueError, TypeError, RuntimeError, NotImplementedError) as error:
            raise ModelError(f"segmentation_models_pytorch cannot build {name}: {str(error).splitlines()[0]}") from error
        if packaged is not None:
            network.encoder.model.load_state_dict({name: packaged[name] for name in network.encoder.model.state_dict()})
        info = ModelInfo(name, classes, mean=mean, std=std)
        return SmpModel(network, info, _class_layers(network, len(classes)), _padding(network, architecture))

    def published(self, name: str) -> tuple[float, str] | None:
        return None

    def _check(self, architecture: str, encoder: str) -> None:
        if architecture not in self.architectures():
            known = self.architectures()
            raise ModelError(f"unknown architecture '{architecture}'{nearest(architecture, known)} (there are {', '.join(known)})")
        if encoder.startswith("tu-"):
            import timm

            known = timm.list_models()
            if not timm.is_model(encoder.removeprefix("tu-")):
                raise ModelError(f"timm has no model '{encoder.removeprefix('tu-')}'{nearest(encoder.removeprefix('tu-'), known)}")
        elif encoder not in self.encoders():
            hint = nearest(encoder, self.encoders()) or "; `vocseg models unet:` lists them"
            raise ModelError(f"unknown encoder '{encoder}'{hint} (timm's are written tu-NAME)")


def adapt_smp(network: nn.Module, info: ModelInfo) -> SegmentationModel:
    """Wrap a network that the user built with smp; it keeps the upsampling at its end."""
    architecture = type(network).__name__.lower()
    return OwnSmpModel(network, info, _class_layers(network, len(info.classes)), _padding(network, architecture))


def _padding(network: Any, architecture: str) -> Padding:
    stride = STRIDES.get(architecture, int(network.encoder.output_stride)) if network.requires_divisible_input_shape else 1
    return Padding(stride, smallest=SMALLEST.get(architecture, 1))


def _packaged(encoder: str) -> dict[str, Tensor] | None:
    """Return the ImageNet weights of one of timm's encoders if a package with them is installed."""
    name = encoder.removeprefix("tu-")
    if package_of(name) is None:
        return None
    import timm

    return packaged_weights(name, timm.create_model(name).state_dict())


def _pretrained_name(encoder: str) -> str:
    """Return smp's name of the encoder's ImageNet weights, or of its first ones if it has none of ImageNet."""
    import segmentation_models_pytorch as smp

    if encoder.startswith("tu-"):
        return "imagenet"
    offered = list(smp.encoders.encoders[encoder]["pretrained_settings"])
    if not offered:
        raise ModelError(f"encoder {encoder} has no pretrained weights; use --weights none")
    return "imagenet" if "imagenet" in offered else str(offered[0])


def _normalization(encoder: str, pretrained: str) -> tuple[Triple, Triple]:
    """Return mean and standard deviation, for RGB in 0..1, with which the encoder was pretrained."""
    import segmentation_models_pytorch as smp

    settings: dict[str, Any] = smp.encoders.get_preprocessing_params(encoder, pretrained)
    scale = float(settings.get("input_range", (0, 1))[1])
    mean, std = ((r / scale, g / scale, b / scale) for r, g, b in (settings["mean"], settings["std"]))
    return mean, std


def _class_layers(network: nn.Module, num_classes: int) -> tuple[str, ...]:
    """Return the name of the last convolution of smp's segmentation head with one output per class."""
    heads = [
        f"segmentation_head.{name}"
        for name, module in network.segmentation_head.named_modules()  # type: ignore[union-attr]
        if isinstance(module, nn.Conv2d) and module.out_channels == num_classes
    ]
    return tuple(heads[-1:])


def _cannot_download(encoder: str, pretrained: str, error: OSError) -> ModelError:
    """Describe a failed download of an encoder: what, from where, why, and what to do instead."""
    import segmentation_models_pytorch as smp
    import timm
    from huggingface_hub import constants

    revision = "main"
    if encoder.startswith("tu-"):
        config = timm.get_pretrained_cfg(encoder.removeprefix("tu-"))
        repository = getattr(config, "hf_hub_id", None)
    else:
        settings = smp.encoders.encoders[encoder]["pretrained_settings"][pretrained]
        repository, revision = settings["repo_id"], settings["revision"]
    address = f"{constants.ENDPOINT}/{repository}/resolve/{revision}/model.safetensors"
    download = f"hf download {repository}" + (f" --revision {revision}" if revision != "main" else "")
    return ModelError(
        f"could not download the ImageNet weights of encoder {encoder} from {address} ({str(error).splitlines()[0]}). "
        f"If you are offline, run `{download}` elsewhere and copy its folder to {constants.HF_HUB_CACHE}, "
        "or use --weights none, --weights FILE, or --model vocseg-s, whose weights are included"
    )


@contextlib.contextmanager
def _offline_if_unreachable() -> Iterator[None]:
    """Let huggingface_hub look only in its cache if its host name does not resolve.

    It would retry for half a minute otherwise, and log each attempt.
    """
    from huggingface_hub import constants

    host = urllib.parse.urlsplit(str(constants.ENDPOINT)).hostname or ""
    before, offline = constants.HF_HUB_OFFLINE, False
    if "https" not in urllib.request.getproxies():
        try:
            socket.getaddrinfo(host, 443)
        except OSError:
            offline = True
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    constants.HF_HUB_OFFLINE = before or offline
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
        logger.setLevel(level)
