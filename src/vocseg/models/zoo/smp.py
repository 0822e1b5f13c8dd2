"""The networks of segmentation_models_pytorch, ``arch:encoder``, with its encoders or timm's (``tu-NAME``)."""

from __future__ import annotations

import contextlib
import logging
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from safetensors import SafetensorError
from torch import Tensor, nn

from vocseg.errors import ModelError, nearest
from vocseg.models.base import Family, Padding, SegmentationModel
from vocseg.models.info import IMAGENET_MEAN, IMAGENET_STD, ModelInfo, Triple
from vocseg.models.weights import PACKAGED_MEAN, PACKAGED_STD, packaged_weights
from vocseg.ops.low_res_logits import LowResLogits


class SmpModel(SegmentationModel):
    """An smp network, padded to its stride."""

    backbone_layers = ("encoder",)
    feature_layers: ClassVar[dict[str, str]] = {"encoder": "encoder"}
    factor = 1.0
    """Of the upsampling that was removed from the network's end."""

    def upsample_to_padded(self, values: Tensor, size: tuple[int, int]) -> LowResLogits:
        if self.factor == 1:
            return super().upsample_to_padded(values, size)
        own = (int(values.shape[-2] * self.factor), int(values.shape[-1] * self.factor))
        return LowResLogits(values).upsampled(own, align_corners=True)


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


class SmpFamily(Family):
    """Weights: ``backbone``, the encoder's ImageNet weights and a random decoder."""

    title = "segmentation_models_pytorch"
    weights = ("backbone", "none")

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
        packaged = packaged_weights(encoder.removeprefix("tu-")) if weights == "backbone" else None
        pretrained = _pretrained_name(encoder) if weights == "backbone" and packaged is None else None
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if packaged is None else (PACKAGED_MEAN, PACKAGED_STD)
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
        except SafetensorError as error:
            damaged = f"the ImageNet weights of encoder {encoder} in {_cached(encoder, pretrained)} are damaged"
            raise ModelError(f"{damaged} ({error}); delete that folder, and they are downloaded again") from error
        except (KeyError, ValueError, TypeError, RuntimeError, NotImplementedError) as error:
            raise ModelError(f"segmentation_models_pytorch cannot build {name}: {str(error).splitlines()[0]}") from error
        if packaged is not None:
            network.encoder.model.load_state_dict({name: packaged[name] for name in network.encoder.model.state_dict()})
        model = adapt_smp(network, ModelInfo(name, classes, mean=mean, std=std))
        model.factor = _take_upsampling(network)
        return model

    def _check(self, architecture: str, encoder: str) -> None:
        known = self.architectures()
        if architecture not in known:
            raise ModelError(f"unknown architecture '{architecture}'{nearest(architecture, known)} (there are {', '.join(known)})")
        if encoder.startswith("tu-"):
            import timm

            name = encoder.removeprefix("tu-")
            if not timm.is_model(name):
                raise ModelError(f"timm has no model '{name}'{nearest(name, timm.list_models())}")
        elif encoder not in self.encoders():
            hint = nearest(encoder, self.encoders()) or "; `vocseg models unet:` lists them"
            raise ModelError(f"unknown encoder '{encoder}'{hint} (timm's are written tu-NAME)")


def adapt_smp(network: Any, info: ModelInfo) -> SmpModel:
    """Wrap a network built with smp; it keeps the upsampling at its end."""
    architecture = type(network).__name__.lower()
    stride = STRIDES.get(architecture, int(network.encoder.output_stride)) if network.requires_divisible_input_shape else 1
    # The last convolution of the head with one output per class.
    head = [
        f"segmentation_head.{name}"
        for name, module in network.segmentation_head.named_modules()
        if isinstance(module, nn.Conv2d) and module.out_channels == len(info.classes)
    ]
    return SmpModel(network, info, tuple(head[-1:]), Padding(stride, smallest=SMALLEST.get(architecture, 1)))


def _pretrained_name(encoder: str) -> str:
    """Return smp's name of the encoder's ImageNet weights, or of its first ones if it has none of ImageNet."""
    import segmentation_models_pytorch as smp

    if encoder.startswith("tu-"):
        return "imagenet"
    offered = list(smp.encoders.encoders[encoder]["pretrained_settings"])
    if not offered:
        raise ModelError(f"encoder {encoder} has no pretrained weights; use the weights 'none'")
    return "imagenet" if "imagenet" in offered else str(offered[0])


def _normalization(encoder: str, pretrained: str) -> tuple[Triple, Triple]:
    """Return mean and standard deviation, for RGB in 0..1, with which the encoder was pretrained."""
    import segmentation_models_pytorch as smp

    settings: dict[str, Any] = smp.encoders.get_preprocessing_params(encoder, pretrained)
    scale = float(settings.get("input_range", (0, 1))[1])
    mean, std = ((r / scale, g / scale, b / scale) for r, g, b in (settings["mean"], settings["std"]))
    return mean, std


def _published(encoder: str, pretrained: str | None) -> tuple[str, str]:
    """Return the repository and the revision of an encoder's weights."""
    import segmentation_models_pytorch as smp
    import timm

    if encoder.startswith("tu-"):
        return str(getattr(timm.get_pretrained_cfg(encoder.removeprefix("tu-")), "hf_hub_id", None)), "main"
    settings = smp.encoders.encoders[encoder]["pretrained_settings"][pretrained]
    return settings["repo_id"], settings["revision"]


def _cached(encoder: str, pretrained: str | None) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{_published(encoder, pretrained)[0].replace('/', '--')}"


def _cannot_download(encoder: str, pretrained: str, error: OSError) -> ModelError:
    """Describe a failed download of an encoder: what, from where, why, and what to do instead."""
    from huggingface_hub import constants

    repository, revision = _published(encoder, pretrained)
    address = f"{constants.ENDPOINT}/{repository}/resolve/{revision}/model.safetensors"
    download = f"hf download {repository}" + (f" --revision {revision}" if revision != "main" else "")
    return ModelError(
        f"could not download the ImageNet weights of encoder {encoder} from {address} ({str(error).splitlines()[0]}). "
        f"If you are offline, run `{download}` elsewhere and copy its folder to {constants.HF_HUB_CACHE}, "
        "or use the weights 'none', a weights file, or the model vocseg-s, whose weights are included"
    )


@contextlib.contextmanager
def _offline_if_unreachable() -> Iterator[None]:
    """Let huggingface_hub look only in its cache if its host name does not resolve.

    It would retry for half a minute otherwise, and log each attempt.
    """
    from huggingface_hub import constants

    logger = logging.getLogger("huggingface_hub")
    level, offline = logger.level, constants.HF_HUB_OFFLINE
    logger.setLevel(logging.ERROR)
    try:
        if "https" not in urllib.request.getproxies():
            try:
                socket.getaddrinfo(urllib.parse.urlsplit(str(constants.ENDPOINT)).hostname, 443)
            except OSError:
                constants.HF_HUB_OFFLINE = True
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        logger.setLevel(level)
