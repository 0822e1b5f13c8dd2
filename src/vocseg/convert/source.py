"""What every reader returns: images, masks, classes, splits and notes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vocseg import voc
from vocseg.errors import DataError
from vocseg.utils.text import counted

BACKGROUNDS = voc.BACKGROUND_NAMES

Mask = NDArray[np.uint8]
Splits = dict[str, list[str]]
"""Image ids by split."""


@dataclass(frozen=True)
class Item:
    """An image and its mask.

    ``mask()`` returns the source's labels, uint8 H x W, 255 = void, and raises DataError if it cannot. ``origin`` is
    the file that errors about the mask name. If the image is stored inside an annotation file, ``embedded`` returns
    its bytes and ``image`` is that file.
    """

    id: str
    image: Path
    origin: Path
    mask: Callable[[], Mask]
    embedded: Callable[[], bytes] | None = None


@dataclass
class Source:
    """A data set in some format, as a reader found it.

    ``names`` maps labels to class names; None if the format has no names. ``named``: the format itself names its
    classes, so ``classes`` selects among them; otherwise ``classes`` names the labels 0, 1, 2, ... ``objects``: masks
    are painted from objects, so label 0 is background, and it is a class only if it occurs. ``void`` are labels
    besides 255 that are not classes. ``splits`` are the source's own. ``notes`` say what was found and what was
    skipped.
    """

    kind: str
    found: str
    items: list[Item]
    names: dict[int, str] | None = None
    named: bool = False
    objects: bool = False
    void: frozenset[int] = frozenset()
    splits: Splits = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def object_classes(names: Iterable[str], origin: Path) -> tuple[dict[int, str], dict[str, int]]:
    """Return the class names by label and the labels by name: background is label 0, the others follow in order.

    All of BACKGROUNDS have label 0. Raises DataError, naming ``origin``, for more classes than masks can hold.
    """
    others = [name for name in dict.fromkeys(names) if name not in BACKGROUNDS]
    if len(others) >= voc.VOID:
        raise DataError(f"{origin} has {len(others)} classes; ids must stay below the void label {voc.VOID}")
    by_label = dict(enumerate([BACKGROUNDS[0], *others]))
    return by_label, {name: label for label, name in by_label.items()} | dict.fromkeys(BACKGROUNDS, 0)


def skipped(what: int | Sequence[object], thing: str, why: str) -> list[str]:
    """Return a note on what was skipped: a number of things, or the things, of which the first is shown.

    >>> skipped(["b.png", "c.png"], "mask", "without an image"), skipped(1, "box", "without an outline"), skipped(0, "box", "")
    (['skipped: 2 masks without an image (such as b.png)'], ['skipped: 1 box without an outline'], [])
    """
    count = what if isinstance(what, int) else len(what)
    example = "" if isinstance(what, int) or not what else f" ({'such as ' if count > 1 else ''}{what[0]})"
    return [f"skipped: {counted(count, thing)} {why}{example}"] if count else []
