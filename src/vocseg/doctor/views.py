"""Images and masks as one looks at them, whatever is wrong with them."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vocseg import draw, voc
from vocseg.data.image_io import read_image
from vocseg.doctor.checks import Colors, read_labels
from vocseg.doctor.examine import find_folder
from vocseg.doctor.palette import Legend, find_legend
from vocseg.doctor.survey import ALL, Survey, as_id, survey
from vocseg.errors import DataError, InputError, nearest


def views(image: Path | None, mask: Path, colors: Colors) -> list[Image.Image]:
    """The overlay and the mask in colors; image and mask where they do not fit; what can be read, where one cannot."""
    shown: list[Image.Image] = []
    try:
        labels = torch.from_numpy(read_labels(mask, colors).labels.copy())
        shown.append(draw.palette_image(labels, colors[:-1]).convert("RGB"))
    except DataError:
        labels = torch.empty(0, 0)
    try:
        pixels = read_image(image) if image else None
    except DataError:
        pixels = None
    if pixels is not None and pixels.shape[1:] == labels.shape:
        return [draw.overlay(pixels, labels, colors[:-1]), *shown]
    return ([] if pixels is None else [Image.fromarray(pixels.permute(1, 2, 0).numpy())]) + shown


def show(
    data: str | Path,
    ids: list[str],
    *,
    split: str | None = None,
    name: str | None = None,
    number: int = 12,
    mask_dir: str | None = None,
    columns: int = 4,
    seed: int = 0,
) -> tuple[Image.Image, list[str]]:
    """A contact sheet of overlays of ``ids``, or of up to ``number`` images of a split, of class ``name`` where given.

    Returns the sheet, with a legend of the classes shown, and the ids. The same seed draws the same images. Raises
    DataError for an id that is not there, InputError for an unknown class or where there is nothing to show.
    """
    folder = find_folder(data, mask_dir)
    found = survey(folder, mask_dir, None if split is None else [split])
    legend = find_legend(folder.root, folder.classes)
    if name is not None and name not in legend.classes:
        raise InputError(f"no class '{name}'{nearest(name, list(legend.classes))} (classes: {', '.join(legend.classes)})")
    pairs = [_locate(found, entry) for entry in ids] or _drawn(found, seed)
    tiles: list[tuple[Image.Image, str]] = []
    shown: set[int] = set()
    for id_, image, mask in pairs:
        labels = _labels(mask, legend)
        if name is not None and legend.classes.index(name) not in labels:
            continue
        images = views(image, mask, legend.colors)
        fits = len(images) == 2 and images[0].size == images[1].size
        tiles.append((images[0] if fits or len(images) == 1 else _beside(images), id_))
        shown |= labels
        if not ids and len(tiles) == number:
            break
    if not tiles:
        raise InputError(f"nothing to show in {folder.root}" + (f": no image of class '{name}'" if name else ""))
    rows = [(legend.classes[label], legend.colors[label]) for label in sorted(shown) if label < len(legend.classes)]
    rows += [("void", voc.PALETTE[voc.VOID])] if voc.VOID in shown else []
    strays = sorted(label for label in shown if len(legend.classes) <= label < voc.VOID)
    rows += [(f"no class: {label}", voc.PALETTE[label]) for label in strays[:5]]
    return draw.legend(draw.contact_sheet(tiles, columns), rows), [id_ for _, id_ in tiles]


def _locate(found: Survey, entry: str) -> tuple[str, Path, Path]:
    """Id, image and mask that an argument means: an id or a file name."""
    name = as_id(entry, found.images)
    if name not in found.images:
        raise DataError(f"id '{name}' has no image in {found.root / voc.IMAGES}{nearest(name, list(found.images))}")
    for masks in found.masks.values():
        if name in masks:
            return name, found.images[name], masks[name]
    raise DataError(f"id '{name}' has no mask in {found.root / next(iter(found.masks))}")


def _drawn(found: Survey, seed: int) -> list[tuple[str, Path, Path]]:
    """All pairs of the first split that there is, of ``train`` where there are several, in random order."""
    by_name = {split.name: split for split in found.splits if split.ids}
    chosen = by_name.get("train") or by_name.get(ALL) or next(iter(by_name.values()), None)
    ids = list(chosen.ids) if chosen else []
    random.Random(seed).shuffle(ids)
    return [(name, found.images[name], found.masks[chosen.mask_dir][name]) for name in ids] if chosen else []


def _labels(mask: Path, legend: Legend) -> set[int]:
    try:
        return set(np.unique(read_labels(mask, legend.colors).labels).tolist())
    except DataError:
        return set()


def _beside(images: list[Image.Image]) -> Image.Image:
    return draw.side_by_side(images) if images else Image.new("RGB", (64, 64), "gray")
