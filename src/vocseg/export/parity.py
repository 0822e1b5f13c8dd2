"""Compare the masks of an exported file with those of its model."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from vocseg.data.transforms.geometry import resize_image, resize_mask
from vocseg.errors import ExportError
from vocseg.export.onnx import Masker
from vocseg.inference.segmenter import Segmenter
from vocseg.metrics import ConfusionMatrix
from vocseg.models import ModelInfo
from vocseg.utils.text import percent

LEAST_SAME = 0.999
"""Fraction of the pixels in which a floating-point file must agree with its model."""


@dataclass(frozen=True)
class Parity:
    """The comparison of an exported file with its model on the same images."""

    images: int
    same_pixels: float
    """Fraction of the pixels that get the same class, 0..1."""
    miou: float | None
    """mIoU of the file, 0..1; None without masks."""
    model_miou: float | None
    """mIoU of the model, 0..1; None without masks."""
    seconds: float
    """Mean time per image of the file in its own runtime."""
    model_seconds: float
    """Mean time per image of the model in vocseg."""

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        return asdict(self)

    def check(self, max_loss: float | None) -> None:
        """Raise ExportError if too few pixels agree or, given ``max_loss``, if more points of mIoU are lost."""
        if max_loss is None:
            if self.same_pixels < LEAST_SAME:
                raise ExportError(
                    f"the exported file gives the model's class to only {self.same_pixels:.2%} of the pixels; "
                    f"at least {LEAST_SAME:.1%} are required"
                )
        elif self.miou is not None and self.model_miou is not None and 100 * (self.model_miou - self.miou) > max_loss:
            lost = 100 * (self.model_miou - self.miou)
            raise ExportError(
                f"mIoU {percent(self.miou)}, the model's is {percent(self.model_miou)}: {lost:.2f} points lost, "
                f"{max_loss:g} allowed"
            )


def input_of(image: Tensor, info: ModelInfo, size: tuple[int, int] | None) -> Tensor:
    """Resize an image (uint8 RGB, 3 x H x W) to the file's fixed ``size`` or to the model's input size."""
    return resize_image(image, size or info.input_size(image.shape[1], image.shape[2]))


def compare(masker: Masker, model: Segmenter, fast: Segmenter, images: Iterable[tuple[Tensor, Tensor | None]]) -> Parity:
    """Segment the same images (uint8 RGB, 3 x H x W, each with its mask or None) with a file and with its model.

    The images have the size that the file takes, their masks any size. ``model`` gives the masks to compare with,
    ``fast`` the time.
    """
    model_matrix, file_matrix = ConfusionMatrix(model.info.classes), ConfusionMatrix(model.info.classes)
    same = pixels = count = 0
    seconds, model_seconds = 0.0, 0.0
    for image, truth in images:
        inputs = image[None]
        if not count:
            masker(inputs), fast(image)  # warm up
        start = time.perf_counter()
        mask = masker(inputs)[0]
        seconds += time.perf_counter() - start
        start = time.perf_counter()
        fast(image)
        model_seconds += time.perf_counter() - start
        model_mask = model(image).mask
        same += int((mask == model_mask).sum())
        pixels += mask.numel()
        count += 1
        if truth is not None:
            for matrix, prediction in ((model_matrix, model_mask), (file_matrix, mask)):
                matrix.update(resize_mask(prediction, (truth.shape[0], truth.shape[1])), truth)
    scored = bool(model_matrix.counts.sum())
    return Parity(
        count, same / pixels, file_matrix.compute().miou if scored else None, model_matrix.compute().miou if scored else None,
        seconds / count, model_seconds / count,
    )  # fmt: skip
