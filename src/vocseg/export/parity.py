"""Whether an exported file does what its model does."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vocseg.data.transforms.geometry import resize_image, resize_mask
from vocseg.errors import ExportError
from vocseg.export.onnx import Masker
from vocseg.inference.segmenter import Segmenter, protocol_size
from vocseg.metrics import ConfusionMatrix
from vocseg.utils.text import percent

SAME = 0.999
"""Share of the pixels that a file in floating point must give the model's class."""


@dataclass(frozen=True)
class Parity:
    """What a file and its model gave for the same images.

    ``same``: share of the pixels with the same class. ``miou`` of the file and ``model_miou`` of the model, None without masks.
    Seconds are the mean of an image: the file's, and those of vocseg's own fast form of the model.
    """

    images: int
    same: float
    miou: float | None
    model_miou: float | None
    seconds: float
    model_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "images": self.images, "same_pixels": self.same, "miou": self.miou, "model_miou": self.model_miou,
            "seconds": self.seconds, "model_seconds": self.model_seconds,
        }  # fmt: skip

    def check(self, max_loss: float | None) -> None:
        """Raise ExportError where too few pixels are the same or, given ``max_loss`` in points of mIoU, more than that is lost."""
        if max_loss is None:
            if self.same < SAME:
                raise ExportError(f"only {self.same:.2%} of the pixels get the model's class, {SAME:.1%} are wanted")
        elif self.miou is not None and self.model_miou is not None and 100 * (self.model_miou - self.miou) > max_loss:
            lost = 100 * (self.model_miou - self.miou)
            raise ExportError(
                f"mIoU {percent(self.miou)} where the model has {percent(self.model_miou)}: {lost:.2f} points lost, "
                f"{max_loss:g} allowed (--max-loss)"
            )


def input_of(image: Tensor, short_side: int | None, size: tuple[int, int] | None) -> Tensor:
    """An image (uint8 RGB, 3 x H x W) as it goes into a file: at the ``size`` that this takes, or as the model's protocol says."""
    own = (image.shape[1], image.shape[2])
    return resize_image(image, size or protocol_size(own, short_side))


def compare(
    masker: Masker,
    model: Segmenter,
    fast: Segmenter,
    images: Iterable[tuple[Tensor, Tensor | None]],
    size: tuple[int, int] | None,
) -> Parity:
    """Let a file and its model segment the same images (uint8 RGB, 3 x H x W), each with its true mask where it has one.

    ``size``: the one that the file takes, if it takes one alone; images are brought to it. Otherwise they go in as the model's
    input protocol says.
    """
    ours, theirs = ConfusionMatrix(model.info.classes), ConfusionMatrix(model.info.classes)
    same = pixels = number = 0
    seconds, model_seconds = 0.0, 0.0
    for image, truth in images:
        if size is not None:
            image = resize_image(image, size)
        own = (image.shape[1], image.shape[2])
        inputs = input_of(image, model.info.short_side, size)[None]
        if not number:
            masker(inputs), fast(image)  # what is done once is no part of the time
        start = time.perf_counter()
        mask = masker(inputs)[0]
        seconds += time.perf_counter() - start
        start = time.perf_counter()
        fast(image)
        model_seconds += time.perf_counter() - start
        mask = resize_mask(mask, own)
        wanted = model(image).mask
        same += int((mask == wanted).sum())
        pixels += mask.numel()
        number += 1
        if truth is not None:
            for matrix, found in ((ours, wanted), (theirs, mask)):
                matrix.update(resize_mask(found, tuple(truth.shape)), truth)
    scored = bool(ours.counts.sum())
    return Parity(
        number, same / pixels, theirs.scores().miou if scored else None, ours.scores().miou if scored else None,
        seconds / number, model_seconds / number,
    )  # fmt: skip
