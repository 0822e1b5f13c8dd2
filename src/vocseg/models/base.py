"""The interface of every network, :class:`SegmentationModel`, and its description, :class:`ModelInfo`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from vocseg import voc
from vocseg.errors import ModelError, reason
from vocseg.ops.low_res_logits import LowResLogits

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

LARGEST_SIDE = 4096
"""Largest side that a model may ask for, pixels."""
LONGEST_NAME = 1000
"""Most characters of a name."""

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says about its network besides the weights; ModelError if no network can be like that.

    >>> ModelInfo("one_layer", ("background", "cat")).palette
    ((0, 0, 0), (128, 0, 0))
    """

    architecture: str
    """Name in the registry."""
    classes: tuple[str, ...]
    """Class names in the order of their ids."""
    palette: tuple[tuple[int, int, int], ...] = ()
    """RGB color of each class; VOC's if empty."""
    mean: Triple = IMAGENET_MEAN
    """Mean RGB subtracted from images scaled to 0..1."""
    std: Triple = IMAGENET_STD
    """Divisor after that."""
    short_side: int | None = None
    """Input protocol: images are resized to this shorter side; None: they go in at their own size."""
    max_short_side: int | None = None
    """Shorter side above which images are shrunk to it; None: the network was trained on images of usual sizes."""
    trained_on: str | None = None
    """Training data in words."""
    scores: dict[str, Any] = field(default_factory=dict)
    """Scores by split."""
    vocseg_version: str | None = None
    """Version of vocseg that wrote the file."""

    def __post_init__(self) -> None:
        if not _is_text(self.architecture):
            raise _wrong("architecture", self.architecture, "a name")
        names = _checked("classes", self.classes, _is_text, f"1 to {voc.VOID} different names", range(1, voc.VOID + 1))
        if len(set(names)) < len(names):
            raise _wrong("classes", self.classes, "different names")
        palette = self.palette or voc.PALETTE[: len(names)]
        colors = _checked("palette", palette, _is_color, "a color, three numbers 0..255, for each class", [len(names)])
        mean = _checked("mean", self.mean, _is_number, "three numbers", [3])
        std = _checked("std", self.std, lambda part: _is_number(part) and part > 1e-6, "three numbers above 0", [3])
        for name in ("short_side", "max_short_side"):
            side = getattr(self, name)
            if side is not None and (type(side) is not int or not 1 <= side <= LARGEST_SIDE):
                raise _wrong(name, side, f"a number of pixels from 1 to {LARGEST_SIDE}")
        if not isinstance(self.scores, dict):
            raise _wrong("scores", self.scores, "scores by split")
        for name, value in (("classes", names), ("palette", tuple(map(tuple, colors))), ("mean", mean), ("std", std)):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return f"ModelInfo({self.architecture}, {len(self.classes)} classes)"

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width at which an image of ``height`` x ``width`` pixels goes into the network.

        >>> ModelInfo("net", ("background", "cat"), short_side=520).input_size(375, 500)
        (520, 693)
        """
        if self.short_side is None:
            return height, width
        factor = self.short_side / min(height, width)
        return max(1, round(height * factor)), max(1, round(width * factor))

    def check_classes(self, classes: tuple[str, ...], where: str) -> None:
        """Raise ModelError if the model does not predict the ``classes`` of the data in ``where``."""
        if self.classes != classes:
            first = next((pair for pair in zip(self.classes, classes, strict=False) if pair[0] != pair[1]), None)
            detail = f"; the first to differ: '{first[0]}' against '{first[1]}'" if first else ""
            raise ModelError(f"model {self.architecture} has {len(self.classes)} classes, {where} has {len(classes)}{detail}")

    def to_json(self) -> str:
        """Return a form for the metadata of files."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str, where: object) -> ModelInfo:
        """Invert :meth:`to_json`; raise ModelError, naming the file ``where``, if it is not the description of a network."""
        try:
            values = json.loads(text)
            if not isinstance(values, dict) or not values.keys() >= {"architecture", "classes"}:
                raise ValueError("it does not name architecture and classes")
            return cls(**{name: values[name] for name in cls.__dataclass_fields__ if name in values})
        except (ValueError, TypeError, RecursionError, ModelError) as error:
            raise ModelError(f"{where} has damaged vocseg metadata: {reason(error)}") from error


def names_of(classes: Sequence[str]) -> tuple[str, ...]:
    """Return class names as a tuple; ModelError for a text or what is not a sequence."""
    if isinstance(classes, str) or not isinstance(classes, Iterable):
        raise _wrong("classes", classes, "a list of names")
    return tuple(classes)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= LONGEST_NAME


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6


def _is_color(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3 and all(type(part) is int and 0 <= part < 256 for part in value)


def _checked(name: str, values: Any, right: Callable[[Any], bool], what: str, lengths: Sequence[int]) -> tuple[Any, ...]:
    """Return ``values`` as a tuple; raise ModelError unless it is a sequence of a right length of right parts."""
    if not isinstance(values, list | tuple) or len(values) not in lengths or not all(map(right, values)):
        raise _wrong(name, values, what)
    return tuple(values)


def _wrong(name: str, value: object, what: str) -> ModelError:
    given = repr(value)
    return ModelError(f"{name} is {given if len(given) < 100 else given[:100] + ' ...'}, not {what}")


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
        """Return the parameters of the backbone."""
        return [parameter for part in self.backbone() for parameter in part.parameters()]

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of the layers with one output per class."""
        return [parameter for name in self.class_layers for parameter in self.network.get_submodule(name).parameters()]

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
