"""Signs that the numbers in a mask file are not the class ids that they seem to be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from vocseg import voc
from vocseg.data.packed import read_bytes
from vocseg.errors import DataError

Color = tuple[int, int, int]

LOSSY_TIFF = ("tiff_jpeg", "jpeg", "webp")
"""Pillow's names of a TIFF's compressions that change values."""
MAX_CHANNEL_ID = 63
"""Largest class id that is looked for in a single color channel; pure colors such as (128, 0, 0) are above it."""
PALETTE_ADVICE = "labels are not class ids; vocseg data convert DIR OUT --colors FILE reads the masks by color"


def lossy_compression(image: Image.Image, path: str | Path) -> str:
    """Name the compression of an opened image file if it changes values, as in ``JPEG``; otherwise return ''."""
    if image.format in ("JPEG", "MPO"):
        return "JPEG"
    if image.format == "TIFF" and image.info.get("compression") in LOSSY_TIFF:
        return f"TIFF with {image.info['compression'].removeprefix('tiff_').upper()} compression"
    return "lossy WebP" if image.format == "WEBP" and _has_lossy_chunk(read_bytes(path)) else ""


def _has_lossy_chunk(webp: bytes) -> bool:
    """Return whether a WebP file has a lossy frame (RIFF chunk ``VP8``, RFC 9649)."""
    place = 12
    while place + 8 <= len(webp):
        name, size = webp[place : place + 4], int.from_bytes(webp[place + 4 : place + 8], "little")
        if name == b"VP8 ":
            return True
        place += 8 + (16 if name == b"ANMF" else size + size % 2)  # an animation's frame holds chunks after 16 bytes
    return False


def id_channel(pixels: NDArray[np.uint8]) -> int | None:
    """Return which channel of a color image (H x W x 3) holds class ids while the other two are 0; None if none does."""
    tops = pixels.reshape(-1, 3).max(0) if pixels.size else np.zeros(3)
    used = np.flatnonzero(tops)
    return int(used[0]) if len(used) == 1 and tops[used[0]] <= MAX_CHANNEL_ID else None


def only_alpha_varies(pixels: NDArray[Any]) -> bool:
    """Return whether an image's last channel, alpha, varies while all others are constant (H x W x channels)."""
    return bool((pixels != pixels[:1, :1]).any((0, 1)).tolist() == [False] * (pixels.shape[2] - 1) + [True])


def used_colors(labels: NDArray[np.uint8], palette: list[int] | None) -> dict[int, Color]:
    """Return the color that a mask's palette (r, g, b, r, ...) gives each label it shows, except void.

    A gray ramp, which only repeats the numbers, gives none.
    """
    if palette is None or palette == [value // 3 for value in range(len(palette))] != [0, 0, 0]:
        return {}
    shown = np.flatnonzero(np.bincount(labels.ravel(), minlength=256)[: voc.VOID]).tolist()
    colors = {label: palette[3 * label : 3 * label + 3] for label in shown}
    return {label: (color[0], color[1], color[2]) for label, color in colors.items() if len(color) == 3}


def palette_conflict(masks: Iterable[tuple[object, Mapping[int, Color]]]) -> str | None:
    """Say which label has another color from file to file, given each mask's file and :func:`used_colors`.

    Editors and optimizers that save indexed images number the colors of each file anew, so such labels are not class ids.

    >>> palette_conflict([("a.png", {0: (0, 0, 0), 1: (128, 0, 0)}), ("b.png", {0: (128, 0, 0)})])
    'label 0 is colored (0, 0, 0) in a.png, but (128, 0, 0) in b.png'
    """
    first: dict[int, tuple[object, Color]] = {}
    for file, colors in masks:
        for label, color in colors.items():
            other, known = first.setdefault(label, (file, color))
            if known != color:
                return f"label {label} is colored {known} in {other}, but {color} in {file}"
    return None


def check_labels_of_split(pixels: ArrayLike, classes: Sequence[str], split: str) -> None:
    """Raise DataError, naming the split, if no score of it can be right (see :func:`split_fault`).

    Training, ``evaluate``, ``score`` and ``stats`` call this with the ground truth's number of pixels of each label: all
    256, or those of the classes only, such as the sums of a confusion matrix's rows.

    >>> check_labels_of_split([900, 0], ["background", "thing"], "val")
    Traceback (most recent call last):
    vocseg.errors.DataError: val: every pixel is 'background' or void (255), though there are 2 classes...
    """
    if fault := split_fault(pixels, classes):
        raise DataError(f"{split}: {fault[1]}")


def split_fault(pixels: ArrayLike, classes: Sequence[str]) -> tuple[str, str] | None:
    """Return the doctor's kind and a description of labels that make every score of a split meaningless; else None.

    That is: no pixel except void, or all others of one class, as in masks of 0 and 255 only, whose 255 is void.
    """
    counts = np.asarray(pixels)
    shown = np.flatnonzero(counts[: min(len(counts), voc.VOID)])
    if len(classes) == 1:
        return "one-name", f"'{classes[0]}' is the only class: every pixel is of it, whatever a model says; name the background too"
    if not len(shown):
        return "void-split", f"every pixel is void ({voc.VOID}): there is nothing to learn or to score; check --mask-dir"
    if len(shown) > 1 or shown[0] >= len(classes):
        return None
    binary = f"; if {voc.VOID} marks objects of one class, `vocseg data doctor DATA --fix OUT` turns it into 1"
    return "one-class", (
        f"every pixel is '{classes[shown[0]]}' or void ({voc.VOID}), though there are {len(classes)} classes; check the masks'"
        f" numbering and their folder (--mask-dir){binary if shown[0] == voc.BACKGROUND else ''}"
    )
