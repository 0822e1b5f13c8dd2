"""What a model file says about its network, :class:`ModelInfo`, checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vocseg import voc
from vocseg.errors import ModelError, reason

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
    license: str | None = None
    """License of the weights; None: the file does not say."""
    temperature: float = 1.0
    """Divisor of the logits for probabilities: above 1, the network is surer of its classes than it is right."""

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
        if not _is_number(self.temperature) or not 0.01 <= self.temperature <= 100:
            raise _wrong("temperature", self.temperature, "a number from 0.01 to 100")
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
