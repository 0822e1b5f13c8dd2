"""The facts of one image and of one mask, and what is wrong with the pair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocseg import voc
from vocseg.data.color_table import color_labels
from vocseg.data.image_io import ROTATED, DecodedMask, decode_mask, image_header, read_image, wrong_mode
from vocseg.data.near_duplicates import Fingerprint, fingerprint
from vocseg.errors import DataError

BETWEEN = 0.1
"""Share of in-between pixels (:func:`in_between`) from which a mask looks interpolated: 2,167 of VOC's and SBD's masks have 0,
resized to 0.5 to 6 times with bilinear, bicubic or Lanczos weights nine of ten have 0.1 to 1."""

Colors = tuple[tuple[int, int, int], ...]
Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class ImageFacts:
    """An image's size (height, width; upright, 0 x 0 where unreadable), EXIF orientation (1..8) and fingerprint."""

    path: Path
    size: tuple[int, int] = (0, 0)
    orientation: int = 1
    print: Fingerprint | None = None
    error: str | None = None


@dataclass(frozen=True)
class MaskFacts:
    """What a mask holds.

    ``kind`` is palette, gray, color, deep (over 8 bits) or unreadable; ``mode`` Pillow's. ``counts`` (int64, 256) are pixels
    of each label, where colors count as the label they stand for; ``foreign`` tells values and colors that stand for none.
    ``between`` is the share of in-between pixels at borders; ``order`` maps labels to those that the palette's colors
    stand for, where it is VOC's in another order.
    """

    path: Path
    size: tuple[int, int]
    kind: str
    mode: str
    counts: NDArray[np.int64]
    foreign: str = ""
    between: float = 0.0
    order: dict[int, int] | None = None
    error: str | None = None


@dataclass(frozen=True)
class Problem:
    """Something wrong with a pair: its kind (:data:`vocseg.doctor.issues.KINDS`), the detail, and a sentence that names files."""

    kind: str
    detail: str
    text: str


def inspect_image(path: Path, decode: bool = True) -> ImageFacts:
    """The facts of an image; with ``decode`` all of it is read and fingerprinted, otherwise its header and, of a JPEG, its end."""
    try:
        size, orientation = image_header(path)
        return ImageFacts(path, size, orientation, fingerprint(read_image(path)) if decode else None)
    except DataError as error:
        return ImageFacts(path, error=str(error))


def read_labels(path: Path, colors: Colors) -> DecodedMask:
    """Decode a mask of any kind; ``colors`` are those of the labels 0, 1, ..., the last one is void's."""
    return decode_mask(path, color_labels(colors))


def _foreign(mask: DecodedMask) -> str:
    """Return the values or colors of a mask that are not class ids, if any."""
    values = np.unique(mask.pixels[mask.foreign], axis=0).tolist()
    if mask.kind == "color":
        return f"colors {_some(['({},{},{})'.format(*color) for color in values])}" if values else ""
    return f"values {_some(values)}" if values else ""


def _some(values: list[Any], limit: int = 8) -> str:
    return ", ".join(map(str, values[:limit])) + (f" and {len(values) - limit} more" if len(values) > limit else "")


def inspect_mask(path: Path, colors: Colors, trust_palette: bool = False) -> MaskFacts:
    """The facts of a mask of any kind; ``colors`` as for :func:`read_labels`.

    With ``trust_palette`` a palette PNG whose palette shows these colors in another order is told from one in order.
    """
    try:
        raw = read_labels(path, colors)
    except DataError as error:
        return MaskFacts(path, (0, 0), "unreadable", "", np.zeros(256, dtype=np.int64), error=str(error))
    counts = np.bincount(raw.labels.ravel(), minlength=256)
    order = _palette_order(raw.palette, counts, colors) if trust_palette and raw.palette else None
    height, width = raw.labels.shape
    return MaskFacts(path, (height, width), raw.kind, raw.mode, counts, _foreign(raw), in_between(raw.labels), order)


def in_between(labels: Labels) -> float:
    """Share, 0..1, of border pixels whose label lies strictly between those two to either side, as interpolation makes them.

    Rows and columns count alike; void neighbors do not, nor labels that are shown elsewhere too, as thin objects would be.
    """
    inside, border = np.zeros((2, *labels.shape), dtype=bool)
    for lines, its_inside, its_border in ((labels, inside, border), (labels.T, inside.T, border.T)):
        before, here, after = lines[:, :-4], lines[:, 2:-2], lines[:, 4:]
        up = (before < here) & (here < after) & (after < voc.VOID)
        its_inside[:, 2:-2] |= up | ((before > here) & (here > after) & (before < voc.VOID))
        its_border[:, 1:] |= lines[:, 1:] != lines[:, :-1]
    counts = np.bincount(labels[inside], minlength=256)
    counts[2 * counts < np.bincount(labels.ravel(), minlength=256)] = 0
    borders = int(np.count_nonzero(border))
    return int(counts.sum()) / borders if borders else 0.0


def _palette_order(palette: list[int], counts: NDArray[np.int64], colors: Colors) -> dict[int, int] | None:
    """Label by label, the class whose color the mask's palette shows for it, where those are all classes and not the labels.

    None where the palette is in order or not of these colors; also where red and blue are merely swapped.
    """
    used = [label for label in np.flatnonzero(counts).tolist() if 3 * label + 2 < len(palette)]
    shown = {label: (palette[3 * label], palette[3 * label + 1], palette[3 * label + 2]) for label in used}
    meant = {color: voc.VOID if label == len(colors) - 1 else label for label, color in reversed(list(enumerate(colors)))}
    if not all(color in meant for color in shown.values()):
        return None
    order = {label: meant[color] for label, color in shown.items()}
    swapped = all(meant.get((blue, green, red)) == label for label, (red, green, blue) in shown.items())
    return None if swapped or all(label == right for label, right in order.items()) else order


def problems(image: ImageFacts, mask: MaskFacts, num_classes: int) -> Iterator[Problem]:
    """What is wrong with a pair."""
    if image.error:
        yield Problem("unreadable-image", _after_path(image.error, image.path), image.error)
    if mask.error:
        yield Problem("unreadable-mask", _after_path(mask.error, mask.path), mask.error)
        return
    yield from _mask_problems(mask, num_classes)
    if not image.error:
        yield from _size_problems(image, mask)


def _after_path(error: str, path: Path) -> str:
    return error.split(f"{path}: ", 1)[-1]


def _size_problems(image: ImageFacts, mask: MaskFacts) -> Iterator[Problem]:
    ours, theirs = (f"{height}x{width}" for height, width in (image.size, mask.size))
    text = f"image {image.path} is {ours} but mask {mask.path} is {theirs}"
    if image.size == mask.size:
        ambiguous = image.orientation != 1 and (image.orientation not in ROTATED or len(set(mask.size)) == 1)
        if ambiguous:
            yield Problem("exif-unclear", f"orientation {image.orientation}", f"image {image.path} is turned by its EXIF tag")
    elif image.orientation in ROTATED and image.size == mask.size[::-1]:
        yield Problem("exif-rotated", f"image {ours}, mask {theirs}", f"{text}: it lacks the turn of the image's EXIF tag")
    else:
        yield Problem("size-mismatch", f"image {ours}, mask {theirs}", text)


def _mask_problems(mask: MaskFacts, num_classes: int) -> Iterator[Problem]:
    if mask.kind in ("color", "deep"):
        yield Problem(f"{mask.kind}-mask", mask.mode, wrong_mode(mask.path, mask.mode))
    if mask.foreign:
        kind = "unknown-color" if mask.kind == "color" else "stray-label"
        yield Problem(kind, mask.foreign, f"mask {mask.path} holds {mask.foreign}, which are of no class")
    stray = [label for label in np.flatnonzero(mask.counts).tolist() if num_classes <= label != voc.VOID]
    if stray:
        pixels = int(mask.counts[stray].sum())
        where = f"outside 0..{num_classes - 1} and {voc.VOID}"
        labels = f"label{'s' if len(stray) > 1 else ''} {_some(stray)}"
        yield Problem("stray-label", f"{labels} ({pixels} pixels)", f"mask {mask.path} holds {labels} ({pixels} pixels {where})")
    if mask.order:
        pairs = _some([f"{label} is colored {right}" for label, right in mask.order.items() if label != right], 4)
        yield Problem("reordered-palette", pairs, f"mask {mask.path}: id {pairs}")
    if mask.between >= BETWEEN:
        yield Problem("interpolated", f"{mask.between:.0%} of border pixels", f"mask {mask.path} looks interpolated")
    if not mask.foreign and int(mask.counts.sum()) == int(mask.counts[voc.VOID]):
        yield Problem("all-void", "", f"mask {mask.path} is void everywhere")
    elif not mask.foreign and int(mask.counts.sum()) == int(mask.counts[0] + mask.counts[voc.VOID]):
        void = int(mask.counts[voc.VOID])
        if void:
            share = f"{void / int(mask.counts.sum()):.1%} of it void"
            yield Problem("void-objects", share, f"mask {mask.path} shows nothing but background and void")
        else:
            yield Problem("all-background", "", f"mask {mask.path} is background everywhere")
    if mask.kind == "gray":
        yield Problem("gray-mask", mask.mode, f"mask {mask.path} has no palette")
