"""Pictures and masks as one looks at them, whatever is wrong with them."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vocseg import draw, voc
from vocseg.data.doctor.examine import find_folder
from vocseg.data.doctor.palette import Legend, find_legend
from vocseg.data.doctor.survey import ALL, Survey, as_id, survey
from vocseg.data.inspect import Colours, read_labels
from vocseg.data.read import read_picture
from vocseg.errors import DataError, InputError, nearest


def views(picture: Path | None, mask: Path, colours: Colours) -> list[Image.Image]:
    """The overlay and the mask in colours; picture and mask where they do not fit; what can be read, where one cannot."""
    shown: list[Image.Image] = []
    try:
        labels = torch.from_numpy(read_labels(mask, colours).labels.copy())
        shown.append(draw.palette_image(labels, colours[:-1]).convert("RGB"))
    except DataError:
        labels = torch.empty(0, 0)
    try:
        pixels = read_picture(picture) if picture else None
    except DataError:
        pixels = None
    if pixels is not None and pixels.shape[1:] == labels.shape:
        return [draw.overlay(pixels, labels, colours[:-1]), *shown]
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
    """A contact sheet of overlays of ``ids``, or of up to ``number`` pictures of a split, of class ``name`` where given.

    Returns the sheet, with a legend of the classes shown, and the ids. The same seed draws the same pictures. Raises
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
    for id_, picture, mask in pairs:
        labels = _labels(mask, legend)
        if name is not None and legend.classes.index(name) not in labels:
            continue
        images = views(picture, mask, legend.colours)
        fits = len(images) == 2 and images[0].size == images[1].size
        tiles.append((images[0] if fits or len(images) == 1 else _beside(images), id_))
        shown |= labels
        if not ids and len(tiles) == number:
            break
    if not tiles:
        raise InputError(f"nothing to show in {folder.root}" + (f": no picture of class '{name}'" if name else ""))
    rows = [(legend.classes[label], legend.colours[label]) for label in sorted(shown) if label < len(legend.classes)]
    rows += [("void", voc.PALETTE[voc.VOID])] if voc.VOID in shown else []
    strays = sorted(label for label in shown if len(legend.classes) <= label < voc.VOID)
    rows += [(f"no class: {label}", voc.PALETTE[label]) for label in strays[:5]]
    return draw.legend(draw.contact_sheet(tiles, columns), rows), [id_ for _, id_ in tiles]


def _locate(found: Survey, entry: str) -> tuple[str, Path, Path]:
    """Id, picture and mask that an argument means: an id or a file name."""
    name = as_id(entry, found.pictures)
    if name not in found.pictures:
        raise DataError(f"id '{name}' has no picture in {found.root / voc.IMAGES}{nearest(name, list(found.pictures))}")
    for masks in found.masks.values():
        if name in masks:
            return name, found.pictures[name], masks[name]
    raise DataError(f"id '{name}' has no mask in {found.root / next(iter(found.masks))}")


def _drawn(found: Survey, seed: int) -> list[tuple[str, Path, Path]]:
    """All pairs of the first split that there is, of ``train`` where there are several, in random order."""
    by_name = {split.name: split for split in found.splits if split.ids}
    chosen = by_name.get("train") or by_name.get(ALL) or next(iter(by_name.values()), None)
    ids = list(chosen.ids) if chosen else []
    random.Random(seed).shuffle(ids)
    return [(name, found.pictures[name], found.masks[chosen.mask_dir][name]) for name in ids] if chosen else []


def _labels(mask: Path, legend: Legend) -> set[int]:
    try:
        return set(np.unique(read_labels(mask, legend.colours).labels).tolist())
    except DataError:
        return set()


def _beside(images: list[Image.Image]) -> Image.Image:
    return draw.side_by_side(images) if images else Image.new("RGB", (64, 64), "grey")
