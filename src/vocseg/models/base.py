"""The interface of every network, :class:`SegmentationModel`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from vocseg.errors import ModelError
from vocseg.models.info import ModelInfo
from vocseg.ops.low_res_logits import LowResLogits


@dataclass(frozen=True)
class Padding:
    """Pad normalized images with the mean color on the right and at the bottom.

    A side becomes ``multiple`` n + ``extra`` pixels, and at least ``smallest``, which has that form too.

    >>> Padding(16, extra=1).side(500), Padding(32)(torch.zeros(1, 3, 33, 64)).shape
    (513, torch.Size([1, 3, 64, 64]))
    """

    multiple: int = 1
    extra: int = 0
    smallest: int = 1

    def __call__(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        return pad(images, (0, self.side(width) - width, 0, self.side(height) - height))

    def side(self, length: int) -> int:
        """Return the padded length of a side of ``length`` pixels."""
        whole = length + (self.extra - length) % self.multiple
        return max(whole, self.smallest) if self.smallest > 1 else whole


class SegmentationModel(nn.Module):
    """Maps images as read from files, of any size, to class logits of the same size.

    ``network`` maps normalized float images, N x 3 x H x W, to logits, N x classes x h x w of any resolution, or to a
    dict of logits with the keys ``out`` and ``aux``. This class fits any such network. A family whose networks need
    padding, end in an upsampling, or have a backbone overrides the class variables and methods below. Training,
    prediction and export use only these, so ``forward`` and the fast path are the same code: normalize, pad, layers,
    upsample.

    >>> network = nn.Conv2d(3, 2, 1, stride=4)
    >>> model = SegmentationModel(network, ModelInfo("one_layer", ("background", "cat")))
    >>> model(torch.zeros(1, 3, 48, 64, dtype=torch.uint8))["out"].shape
    torch.Size([1, 2, 48, 64])
    """

    mean: Tensor
    std: Tensor
    backbone_layers: ClassVar[tuple[str, ...]] = ()
    """Pretrained submodules of ``network``: the backbone, or encoder."""
    align_corners: ClassVar[bool] = False
    """``align_corners`` of the upsampling that ends the network."""
    feature_layers: ClassVar[dict[str, str]] = {}
    """Feature name -> submodule of ``network`` whose output it is."""

    def __init__(
        self, network: nn.Module, info: ModelInfo, class_layers: tuple[str, ...] = (), padding: Padding | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.class_layers = class_layers
        """Submodules of ``network`` with one output per class."""
        self.padding = padding or Padding()
        self.set_info(info)

    def set_info(self, info: ModelInfo) -> None:
        """Replace the description, including the normalization."""
        self.info = info
        device = next((parameter.device for parameter in self.parameters()), None)
        for name, values in (("mean", info.mean), ("std", info.std)):
            self.register_buffer(name, torch.tensor(values, device=device).view(1, 3, 1, 1) * 255, persistent=False)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names in the order of their ids."""
        return self.info.classes

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Compute logits, float32, N x classes x H x W, of uint8 (or float, 0..255) RGB images, N x 3 x H x W.

        The dict has ``out`` and, if the network has an auxiliary head, ``aux``.
        """
        return {name: logits.full() for name, logits in self.low_res_logits(images).items()}

    def low_res_logits(self, images: Tensor) -> dict[str, LowResLogits]:
        """Compute the logits of :meth:`forward` before the upsampling that ends the network."""
        height, width = images.shape[-2:]
        values = self.layers(self.pad(self.normalize(images)))
        for value in values.values():
            self.check_output(value)
        return {name: self.upsample(value, height, width) for name, value in values.items()}

    def normalize(self, images: Tensor) -> Tensor:
        """Normalize uint8 (or float, 0..255) images with the mean and standard deviation of the training; float32."""
        return (images.float() - self.mean) / self.std

    def pad(self, inputs: Tensor) -> Tensor:
        """Pad normalized images to a size that the network takes."""
        return self.padding(inputs)

    def layers(self, inputs: Tensor) -> dict[str, Tensor]:
        """Run the network on normalized, padded images up to its last upsampling: dict of N x classes x h x w."""
        outputs = self.network(inputs)
        if isinstance(outputs, Tensor):
            return {"out": outputs}
        if not isinstance(outputs, dict) or "out" not in outputs:
            kind = f"a dict without 'out': {sorted(outputs)}" if isinstance(outputs, dict) else type(outputs).__name__
            raise ModelError(f"network {self.info.architecture} returns {kind}; return logits, or a dict with 'out' and 'aux'")
        return outputs

    def upsample(self, values: Tensor, height: int, width: int) -> LowResLogits:
        """Return the output of :meth:`layers` as logits of images of ``height`` x ``width`` pixels."""
        padded = self.padding.side(height), self.padding.side(width)
        return self.upsample_to_padded(values, padded).cropped(height, width)

    def check_output(self, values: Tensor) -> None:
        """Raise ModelError unless the output of :meth:`layers` has a plane of logits for each class."""
        name, shape, classes = self.info.architecture, tuple(values.shape), len(self.info.classes)
        if len(shape) != 4:
            raise ModelError(f"{name} gives an output of shape {shape}, not images x classes x height x width")
        if shape[1] != classes:
            raise ModelError(f"{name} predicts {shape[1]} classes, but has {classes} class names")

    def upsample_to_padded(self, values: Tensor, size: tuple[int, int]) -> LowResLogits:
        """Return the output of :meth:`layers` as logits of padded images of ``size`` (height, width)."""
        return LowResLogits(values).upsampled(size, self.align_corners)

    @property
    def features(self) -> dict[str, nn.Module]:
        """The modules whose outputs are the named features of the network, for distillation; may be empty."""
        return {name: self.network.get_submodule(path) for name, path in self.feature_layers.items()}

    def backbone(self) -> list[nn.Module]:
        """Return the pretrained modules; empty if the network has no backbone."""
        return [self.network.get_submodule(path) for path in self.backbone_layers]

    def backbone_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the backbone, without a class layer in it."""
        heads = {id(parameter) for parameter in self.head_parameters()}
        return [parameter for part in self.backbone() for parameter in part.parameters() if id(parameter) not in heads]

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the layers with one output per class."""
        return [parameter for name in self.class_layers for parameter in self.network.get_submodule(name).parameters()]

    def adopt(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the state dict of a network that this one builds upon under this one's names; any other unchanged."""
        return state

    def without_auxiliary(self) -> SegmentationModel:
        """Remove the auxiliary head, which only training uses, in place, and return the model."""
        return self


class Family:
    """A family of architectures; :mod:`vocseg.models.registry` lists the families."""

    title: ClassVar[str]
    """Shown in lists."""
    weights: ClassVar[tuple[str, ...]] = ("none",)
    """Kinds of pretrained weights, the default first; ``none`` is random."""

    def names(self) -> list[str]:
        """List all names that :meth:`build` takes."""
        raise NotImplementedError

    def build(self, name: str, classes: tuple[str, ...], weights: str) -> SegmentationModel:
        """Build a model; ``weights`` is one of the family's. Raise ModelError if they cannot be loaded."""
        raise NotImplementedError

    def published(self, name: str) -> tuple[float, str] | None:
        """Return the published mIoU (0..1) of the default weights and the data it was measured on, or None."""
        return None
