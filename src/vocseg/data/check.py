"""A quick check of a whole split before anything is trained on it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from vocseg import voc
from vocseg.data.dataset import VocDataset
from vocseg.data.read import read_mask, read_picture
from vocseg.errors import DataError
from vocseg.progress import progress

ROTATED = {5, 6, 7, 8}
"""EXIF orientations that swap height and width."""


@dataclass(frozen=True)
class SplitSummary:
    """Pixels (int64) of each label 0..255, and pictures that show it, over a split."""

    split: str
    images: int
    classes: tuple[str, ...]
    pixels: Tensor
    pictures: Tensor

    def describe(self) -> str:
        """One line: pictures, classes present and absent, share of void."""
        absent = [name for label, name in enumerate(self.classes) if not self.pictures[label]]
        void = float(self.pixels[voc.VOID]) / max(1, int(self.pixels.sum()))
        present = f"{len(self.classes) - len(absent)} of {len(self.classes)} classes"
        without = f" (none of {', '.join(absent[:5])}{', ...' if len(absent) > 5 else ''})" if absent else ""
        return f"{self.split}: {self.images} pictures, {present}{without}, {void:.1%} void"


def check_split(dataset: VocDataset) -> SplitSummary:
    """Read every mask and every picture's header of a split; raises the first DataError, naming the file and the value.

    Found here: unreadable masks, colour masks, stray labels, pictures of another size than their mask, files that are no
    pictures, and truncated JPEGs.
    """

    def count(name: str) -> Tensor:
        mask_path, picture_path = dataset.folder.mask(name), dataset.folder.picture(name)
        mask = read_mask(mask_path, len(dataset.classes))
        height, width = picture_size(picture_path)
        if (height, width) != tuple(mask.shape):
            raise DataError(f"picture {picture_path} is {height}x{width} but mask {mask_path} is {mask.shape[0]}x{mask.shape[1]}")
        return torch.bincount(mask.flatten(), minlength=256)

    pixels = torch.zeros(256, dtype=torch.int64)
    pictures = torch.zeros(256, dtype=torch.int64)
    with ThreadPoolExecutor() as pool:
        for counts in progress(pool.map(count, dataset.masked), len(dataset.masked), f"check {dataset.split}"):
            pixels += counts
            pictures += counts > 0
    return SplitSummary(dataset.split, len(dataset.masked), dataset.classes, pixels, pictures)


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of a picture, upright, from its header; a JPEG without its end marker is decoded in full.

    Raises DataError for a file that is missing, truncated or no picture.
    """
    try:
        with open(path, "rb") as file, Image.open(file) as image:
            width, height = image.size
            rotated = image.format == "JPEG" and image.getexif().get(0x0112) in ROTATED
            file.seek(-min(64, path.stat().st_size), 2)
            ended = image.format != "JPEG" or file.read().rstrip(b"\0").endswith(b"\xff\xd9")
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"cannot read picture {path}: {error}") from error
    if not ended:
        read_picture(path)
    return (width, height) if rotated else (height, width)
