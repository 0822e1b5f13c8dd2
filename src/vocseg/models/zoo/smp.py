"""Every ``arch:encoder`` of segmentation_models_pytorch, with any of its encoders or timm's (``tu-NAME``)."""

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
from vocseg.models.base import IMAGENET_MEAN, IMAGENET_STD, ModelInfo, Padding, SegmentationModel
from vocseg.models.packaged_weights import MEAN, STD, package_of, packaged_weights
from vocseg.ops.low_res_logits import LowResLogits


class SmpModel(SegmentationModel):
    """An smp network, padded to its stride; the upsampling that ends its head is left to :meth:`upsample`."""

    align_corners: ClassVar[bool] = True
    backbone_layers: ClassVar[tuple[str, ...]] = ("encoder",)
    feature_layers: ClassVar[dict[str, str]] = {"encoder": "encoder"}

    def __init__(self, network: nn.Module, info: ModelInfo, class_layers: tuple[str, ...], padding: Padding) -> None:
        super().__init__(network, info, class_layers, padding)
        self.factor = _take_upsampling(network)

    def upsample_to_padded(self, values: Tensor, size: tuple[int, int]) -> LowResLogits:
        own = (int(values.shape[-2] * self.factor), int(values.shape[-1] * self.factor))
        return LowResLogits(values).upsampled(own, self.align_corners)


def _take_upsampling(network: nn.Module) -> float:
    """Take the upsampling out of smp's usual head and return its factor; 1 where the network ends in another way."""
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
"""Sides below which an architecture's own pooling fails."""

STRIDES = {"dpt": 32}
"""Strides larger than that of the encoder, which smp asks for: DPT halves its map once more."""

OPTIONS = {"dpt": {"dynamic_img_size": True}}
"""Arguments without which an architecture takes one image size only."""


class SmpFamily:
    """``backbone``: the encoder's ImageNet weights below a new decoder."""

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
            with _no_needless_retries():
                network = smp.create_model(
                    architecture, encoder, encoder_weights=pretrained, classes=len(classes), **OPTIONS.get(architecture, {})
                )
                if pretrained:
                    settings: dict[str, Any] = smp.encoders.get_preprocessing_params(encoder, pretrained)
                    scale = float(settings.get("input_range", (0, 1))[1])
                    mean, std = ((r / scale, g / scale, b / scale) for r, g, b in (settings["mean"], settings["std"]))
        except OSError as error:
            raise ModelError(
                f"ImageNet weights of encoder {encoder} not to be had from {_hub()} ({str(error).splitlines()[0]}); "
                "offline, start without them: --weights none, --weights FILE, or --model vocseg-s, whose weights are here"
            ) from error
        except (KeyError, ValueError, TypeError, RuntimeError, NotImplementedError) as error:
            raise ModelError(f"segmentation_models_pytorch cannot build {name}: {str(error).splitlines()[0]}") from error
        if packaged is not None:
            network.encoder.model.load_state_dict({name: packaged[name] for name in network.encoder.model.state_dict()})
        stride = STRIDES.get(architecture, int(network.encoder.output_stride)) if network.requires_divisible_input_shape else 1
        padding = Padding(stride, smallest=SMALLEST.get(architecture, 1))
        return SmpModel(network, ModelInfo(name, classes, mean=mean, std=std), _class_layers(network, len(classes)), padding)

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


def _packaged(encoder: str) -> dict[str, Tensor] | None:
    """ImageNet weights of one of timm's encoders from an installed package."""
    name = encoder.removeprefix("tu-")
    if package_of(name) is None:
        return None
    import timm

    return packaged_weights(name, timm.create_model(name).state_dict())


def _pretrained_name(encoder: str) -> str:
    """The encoder's ImageNet weights, or its first ones where none go by that name."""
    import segmentation_models_pytorch as smp

    if encoder.startswith("tu-"):
        return "imagenet"
    offered = list(smp.encoders.encoders[encoder]["pretrained_settings"])
    if not offered:
        raise ModelError(f"encoder {encoder} has no pretrained weights; use --weights none")
    return "imagenet" if "imagenet" in offered else str(offered[0])


def _class_layers(network: nn.Module, num_classes: int) -> tuple[str, ...]:
    """The convolution of smp's segmentation head: the last with one output a class."""
    heads = [
        f"segmentation_head.{name}"
        for name, module in network.segmentation_head.named_modules()  # type: ignore[union-attr]
        if isinstance(module, nn.Conv2d) and module.out_channels == num_classes
    ]
    return tuple(heads[-1:])


def _hub() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


@contextlib.contextmanager
def _no_needless_retries() -> Iterator[None]:
    """Where the hub's name does not resolve, look in its cache only: it would retry for half a minute, loudly."""
    from huggingface_hub import constants

    host = urllib.parse.urlsplit(_hub()).hostname or ""
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
