"""Pictures of scored images for pages: image, ground truth, prediction, errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vocseg import draw, voc
from vocseg.data.image_io import read_image, read_mask
from vocseg.data.layout import VocFolder
from vocseg.errors import DataError
from vocseg.evaluation.record import Record, truth_hash
from vocseg.utils.html import embedded, swatch

SIDE = 240
"""Longer side of a picture, pixels."""
ROOM = 2_200_000
"""Most characters of all pictures of a page; when they are used, images are only named."""
MISSED, FALSE, SWAPPED = (59, 130, 246), (245, 158, 11), (239, 68, 68)
BETTER, WORSE = (34, 197, 94), (239, 68, 68)
LEGEND = {"missed": MISSED, "false": FALSE, "another class": SWAPPED}
CHANGE_LEGEND = {"only B is right": BETTER, "only A is right": WORSE}
STYLE = """
.pictures{display:grid;grid-template-columns:repeat(4,1fr);gap:4px;margin:.3rem 0}
.pictures img{width:100%;height:auto;margin:0;display:block}.pictures span{font-size:.75rem}
.pictured{margin:1.2rem 0;scroll-margin-top:1rem}@media(max-width:640px){.pictures{grid-template-columns:repeat(2,1fr)}}
"""

Labels = NDArray[np.uint8]


class Pictures:
    """Pictures of images, each once, as long as there is room on the page.

    ``masks``: folders of the predictions, one or two. With two, the pictures show what changed from the first to the second.
    """

    def __init__(self, data: VocFolder, masks: Sequence[Path], record: Record) -> None:
        self.data, self.masks, self.background = data, masks, voc.background(record.classes)
        self.truth = dict(zip(record.ids, record.truth, strict=True))
        self.anchors = {name: f"image-{place}" for place, name in enumerate(record.ids)}
        self.room, self.shown = ROOM, set[str]()
        places = {name: place for place, name in enumerate(record.classes)}
        self.table = np.full(256, voc.VOID, np.uint8)  # from labels of the data to places in the record
        for label, name in enumerate(data.classes):
            self.table[label] = places.get(name, voc.VOID)

    def figure(self, name: str, caption: str) -> str:
        """Show an image with a caption, which is HTML; name it only, if it is on the page or there is no room left.

        Raises DataError if files are missing or the ground truth is not the one that was scored.
        """
        if name in self.shown:
            return f'<p><a href="#{self.anchors[name]}">{escape(name)}</a>: {caption}, shown above</p>'
        pictures = self._pictures(name) if self.room > 0 else ""
        if len(pictures) > self.room:
            self.room, pictures = 0, ""
        if not pictures:
            return f"<p>{escape(name)}: {caption}</p>"
        self.room -= len(pictures)
        self.shown.add(name)
        return (
            f'<figure class="pictured" id="{self.anchors[name]}"><figcaption><b>{escape(name)}</b> {caption}</figcaption>'
            f'<div class="pictures">{pictures}</div></figure>'
        )

    def _pictures(self, name: str) -> str:
        image, truth = read_image(self.data.image(name)), self._truth(name)
        guesses = [read_mask(folder / f"{name}.png") for folder in self.masks]
        if any(guess.shape != truth.shape for guess in guesses):
            raise DataError(f"a predicted mask of {name} has another size than the ground truth: evaluate again with --out")
        small = draw.thumbnail(_as_image(image), SIDE)
        own, *others = (_shrunk(self.table[labels.numpy()], small.size) for labels in (truth, *guesses))
        if len(others) == 1:
            shown = {"image": small, "truth": _palette(own), "prediction": _palette(others[0])}
            shown["errors"] = _painted(small, self._errors(own, others[0]))
        else:
            pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1)
            background = self.background
            shown = {"truth": draw.overlay(pixels, torch.from_numpy(own), opacity=0.5, background=background)}
            shown |= {side: _palette(labels) for side, labels in zip("AB", others, strict=True)}
            shown["change"] = _painted(small, _changes(own, *others))
        return "".join(f"<span>{_embedded(picture, f'{text} of {name}')}{text}</span>" for text, picture in shown.items())

    def _truth(self, name: str) -> Tensor:
        """Read the ground truth that was scored, which may be in another folder of masks."""
        for path in self.data.masks_of(name):
            if truth_hash(truth := read_mask(path, len(self.data.classes))) == self.truth[name]:
                return truth
        raise DataError(f"{self.data.root} does not hold the ground truth of {name} that was scored: name its data set (--data)")

    def _errors(self, truth: Labels, guess: Labels) -> dict[tuple[int, int, int], NDArray[np.bool_]]:
        wrong = (truth != guess) & (truth != voc.VOID)
        missed, false = ((wrong & (labels == self.background)) for labels in (guess, truth))
        return {SWAPPED: wrong & ~missed & ~false, MISSED: missed, FALSE: false}


def _changes(truth: Labels, first: Labels, second: Labels) -> dict[tuple[int, int, int], NDArray[np.bool_]]:
    return {BETTER: (second == truth) & (first != truth), WORSE: (first == truth) & (second != truth)}


def _as_image(pixels: Tensor) -> Image.Image:
    """Return an image (uint8, 3 x H x W) as Pillow's."""
    return Image.fromarray(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()))


def _shrunk(labels: Labels, size: tuple[int, int]) -> Labels:
    return np.array(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))


def _palette(labels: Labels) -> Image.Image:
    return draw.palette_image(torch.from_numpy(labels))


def _painted(image: Image.Image, parts: Mapping[tuple[int, int, int], NDArray[np.bool_]]) -> Image.Image:
    """Paint pixels of a gray image, each set in its color."""
    gray = np.array(image.convert("L"), dtype=np.float32)[..., None]
    pixels = np.repeat(60 + 0.6 * gray, 3, 2).astype(np.uint8)
    for color, mask in parts.items():
        pixels[mask] = color
    return Image.fromarray(pixels)


def _embedded(picture: Image.Image, alt: str) -> str:
    return embedded(picture, "PNG" if picture.mode == "P" else "JPEG", alt)


def legend(colors: Mapping[str, tuple[int, int, int]]) -> str:
    """Return names after their colors."""
    return " ".join(f'<span class="name">{swatch(color)}{escape(name)}</span>' for name, color in colors.items())
