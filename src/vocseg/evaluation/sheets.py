"""Sheets of the images that a comparison changed most: ground truth, and what both sides predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from vocseg import draw, voc
from vocseg.data.image_io import read_image, read_mask
from vocseg.data.layout import VocFolder, protect_data
from vocseg.errors import DataError, InputError
from vocseg.evaluation.compare import Comparison
from vocseg.evaluation.result import MASKS, about_of, read_scores
from vocseg.utils.files import MARK, writable_folder

GAINS, LOSSES = "gains.jpg", "losses.jpg"
"""Files of the images that B does better, and worse, than A."""
LINE = 20
"""Height of a line of the legend, pixels: as large as the captions."""


def predictions_of(folder: Path, about: Mapping[str, str]) -> Path:
    """Return the folder of the predicted masks of a folder of results; DataError if it is not at hand."""
    for masks in (folder / MASKS, Path(about.get("masks", folder / MASKS))):
        if masks.is_dir():
            return masks
    raise DataError(f"{folder} has no predicted masks: evaluate again with --out, or score with the folder of masks in its place")


def save_sheets(
    comparison: Comparison, a: str | Path, b: str | Path, out: str | Path, *, data: str | Path | None = None, count: int = 12
) -> list[Path]:
    """Write a sheet of the ``count`` images with the largest gain, and one of those with the largest loss, to ``out``.

    ``a`` and ``b``: the folders of results that were compared, which hold or name the predicted masks. ``data``: the
    data set; by default that of the results. Returns the files written: none for images without an effect. Raises
    DataError if images or masks are not at hand, OutputError if a sheet cannot be written.
    """
    folders = [Path(a), Path(b)]
    about = [about_of(read_scores(folder)) for folder in folders]
    masks = [predictions_of(folder, own) for folder, own in zip(folders, about, strict=True)]
    voc_folder = data_of(about[0]) if data is None else VocFolder.find(data)
    out = writable_folder(Path(out))
    gains = [row for row in comparison.images if row[1] > 0][:count]
    losses = [row for row in reversed(comparison.images) if row[1] < 0][:count]
    written = []
    for name, rows in ((GAINS, gains), (LOSSES, losses)):
        if rows:
            protect_data(voc_folder.root, [voc_folder.mask_dir], [out / name])
            background, shown = voc.background(voc_folder.classes), set[int]()
            tiles = [tile for row in rows for tile in _tiles(row, voc_folder, masks, shown)]
            colors = [(text, voc.PALETTE[label]) for label, text in enumerate(voc_folder.classes) if label in shown - {background}]
            draw.save_image(draw.legend(draw.contact_sheet(tiles, columns=3), colors, LINE), out / name, MARK)
            written.append(out / name)
    return written


def data_of(about: Mapping[str, str]) -> VocFolder:
    """Return the data set that results are of; DataError if it is not at hand."""
    name = about.get("data", "")
    try:
        return VocFolder.find(name)
    except DataError as error:
        raise DataError(f"the data set of these results, {name or 'unknown'}, is not at hand: name its folder (--data)") from error


def _tiles(row: tuple[str, float], folder: VocFolder, masks: Sequence[Path], shown: set[int]) -> list[tuple[Image.Image, str]]:
    """Draw an image's truth and predictions, with captions; add their labels to those ``shown``."""
    name, effect = row
    image = read_image(folder.image(name))
    labels: list[Tensor] = [read_mask(folder.mask(name)), *(read_mask(path / f"{name}.png") for path in masks)]
    for label in labels:
        if label.shape != image.shape[1:]:
            raise InputError(
                f"image {name} is {tuple(image.shape[1:])} but a mask of it {tuple(label.shape)}: is --data the right one?"
            )
        shown.update(np.unique(label.numpy()).tolist())
    captions = (f"{name}: truth", "A", f"B {100 * effect:+.2f} points")
    return [(draw.overlay(image, label), text) for label, text in zip(labels, captions, strict=True)]
