"""Show images with their masks, whatever is wrong with them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vocseg import draw, voc
from vocseg.data.color_table import color_labels
from vocseg.data.image_io import decode_mask, read_image
from vocseg.data.lists import resolve_id
from vocseg.doctor.survey import Colors, Survey, find_legend, survey
from vocseg.errors import DataError, InputError, nearest

MAX_STRAYS = 5
"""Labels without class that a legend lists."""


class ContactSheet(NamedTuple):
    """A sheet of overlays with captions and a legend, and the ids that it shows."""

    image: Image.Image
    ids: list[str]


def show(
    data: str | Path,
    ids: Sequence[str] = (),
    *,
    split: str | None = None,
    class_name: str | None = None,
    count: int = 12,
    mask_dir: str | None = None,
    columns: int = 4,
    seed: int = 0,
) -> ContactSheet:
    """Draw a contact sheet of overlays.

    Shows ``ids``, or up to ``count`` random images of a split, optionally of one class. Image and mask are shown side
    by side if their sizes differ. The same seed draws the same images. Raises DataError for an id without image or
    mask, InputError for an unknown class and if there is nothing to show.

    >>> from vocseg.data.samples import FOLDER
    >>> len(show(FOLDER, count=2).ids)
    2
    """
    found = survey(data, mask_dir, None if split is None else [split])
    legend = find_legend(found.root, found.classes)
    if class_name is not None and class_name not in legend.classes:
        hint = nearest(class_name, list(legend.classes))
        raise InputError(f"no class '{class_name}'{hint} (classes: {', '.join(legend.classes)})")
    tiles: list[tuple[Image.Image, str]] = []
    shown: set[int] = set()
    for id_, image, mask in [_locate(found, entry) for entry in ids] or _shuffled(found, seed):
        labels = read_labels(mask, legend.colors)
        its_classes = set() if labels is None else set(np.unique(labels.numpy()).tolist())
        if class_name is not None and legend.classes.index(class_name) not in its_classes:
            continue
        tiles.append((_tile(overlay_and_mask(image, labels, legend.colors)), id_))
        shown |= its_classes
        if not ids and len(tiles) == count:
            break
    if not tiles:
        raise InputError(f"nothing to show in {found.root}" + (f": no image of class '{class_name}'" if class_name else ""))
    rows = [(name, legend.colors[label]) for label, name in enumerate(legend.classes) if label in shown]
    rows += [("void", voc.PALETTE[voc.VOID])] if voc.VOID in shown else []
    strays = sorted(label for label in shown if len(legend.classes) <= label < voc.VOID)
    rows += [(f"no class: {label}", voc.PALETTE[label]) for label in strays[:MAX_STRAYS]]
    return ContactSheet(draw.legend(draw.contact_sheet(tiles, columns), rows), [id_ for _, id_ in tiles])


def overlay_and_mask(image: Path | None, labels: Tensor | None, colors: Colors) -> list[Image.Image]:
    """Draw the overlay and the colored mask; image and mask if their sizes differ; whichever of the two is readable."""
    views = [] if labels is None else [draw.palette_image(labels, colors[:-1]).convert("RGB")]
    try:
        pixels = read_image(image) if image else None
    except DataError:
        pixels = None
    if pixels is None:
        return views
    if labels is not None and pixels.shape[1:] == labels.shape:
        return [draw.overlay(pixels, labels, colors[:-1]), *views]
    return [Image.fromarray(pixels.permute(1, 2, 0).numpy()), *views]


def read_labels(mask: Path, colors: Colors) -> Tensor | None:
    """Read a mask of any kind (uint8, H x W); None if it is unreadable."""
    try:
        return torch.from_numpy(decode_mask(mask, color_labels(colors)).labels.copy())
    except DataError:
        return None


def _tile(views: list[Image.Image]) -> Image.Image:
    if len(views) == 2 and views[0].size == views[1].size:
        return views[0]
    return draw.side_by_side(views) if views else Image.new("RGB", (64, 64), "gray")


def _locate(found: Survey, entry: str) -> tuple[str, Path, Path]:
    """Return id, image and mask for an id or a file name."""
    name = resolve_id(entry, found.images)
    if name not in found.images:
        raise DataError(f"id '{name}' has no image in {found.root / voc.IMAGES}{nearest(name, list(found.images))}")
    mask = next((masks[name] for masks in found.masks.values() if name in masks), None)
    if mask is None:
        raise DataError(f"id '{name}' has no mask in {found.root / next(iter(found.masks))}")
    return name, found.images[name], mask


def _shuffled(found: Survey, seed: int) -> list[tuple[str, Path, Path]]:
    """Return all pairs of ``train``, or of the first split that is not empty, in random order."""
    chosen = found.choose()
    ids = list(chosen.ids) if chosen else []
    random.Random(seed).shuffle(ids)
    return [(name, found.images[name], found.masks[chosen.mask_dir][name]) for name in ids if chosen]
