"""The public predictor: an image in, a mask of its own size out."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vocseg import draw
from vocseg.data.image_io import read_image
from vocseg.data.transforms.geometry import resize_image
from vocseg.errors import DataError
from vocseg.inference.engines import EngineName
from vocseg.inference.optimize import FastModel
from vocseg.models import ModelInfo, SegmentationModel, create_model
from vocseg.models.zoo.vocseg_s import NAME
from vocseg.ops.low_res_logits import LowResLogits
from vocseg.utils.system import find_device, find_precision
from vocseg.utils.text import shares

ImageLike = str | Path | Image.Image | np.ndarray[Any, Any] | Tensor
"""A file, a Pillow image, or uint8 RGB pixels: an array H x W x 3 or a tensor 3 x H x W."""


@dataclass(frozen=True)
class Segmentation:
    """An image (uint8 RGB, 3 x H x W), its mask (uint8 class ids, H x W), and the model that made it."""

    image: Tensor
    mask: Tensor
    info: ModelInfo

    def __repr__(self) -> str:
        height, width = self.mask.shape
        return f"Segmentation({width} x {height} pixels by {self.info.architecture}: {', '.join(shares(self.areas()))})"

    def areas(self) -> dict[str, float]:
        """Share of the image, 0..1, of each class found, largest first."""
        counts = torch.bincount(self.mask.flatten().long(), minlength=len(self.info.classes)) / max(1, self.mask.numel())
        found = [(name, share) for name, share in zip(self.info.classes, counts.tolist(), strict=True) if share]
        return dict(sorted(found, key=lambda row: -row[1]))

    def save_mask(self, path: str | Path) -> None:
        """Write the mask as palette PNG."""
        draw.save_mask(self.mask, Path(path), self.info.palette)

    def overlay(self) -> Image.Image:
        """The image tinted with the mask's colors over a legend of the classes found."""
        tinted = draw.overlay(self.image, self.mask, self.info.palette)
        colors = dict(zip(self.info.classes, self.info.palette, strict=True))
        areas = self.areas()
        return draw.legend(tinted, [(text, colors[name]) for text, name in zip(shares(areas), areas, strict=True)])


class Segmenter:
    """Predicts masks with one model; without one named, with that of the package.

    ``model`` and ``weights`` are what :func:`vocseg.models.create_model` takes, or a model, which is copied. With ``exact``
    the network runs as it was trained, in float32; otherwise rewritten (:mod:`vocseg.inference.optimize`) and run by ``engine``
    (:mod:`vocseg.inference.engines`), which gives the same masks but for rounding. Raises ModelError.

    Several threads may use one Segmenter: each gets the masks that it would get alone. Not so several processes: after a fork
    make a new Segmenter in the child, since the threads of the engines do not come along.

    >>> segment = Segmenter("lraspp_mobilenet_v3_large", weights="none", device="cpu")
    >>> segment(torch.zeros(3, 48, 64, dtype=torch.uint8)).mask.shape
    torch.Size([48, 64])
    """

    def __init__(
        self,
        model: str | SegmentationModel = NAME,
        *,
        weights: str | None = None,
        device: str = "auto",
        precision: str = "auto",
        exact: bool = False,
        engine: EngineName = "auto",
    ) -> None:
        self.device = find_device(device)
        built = model if isinstance(model, SegmentationModel) else create_model(model, weights=weights)
        self.info = built.info
        self.network: nn.Module
        if exact:
            self.network = copy.deepcopy(built).eval().to(self.device)
        else:
            # What an engine makes of weights that are still being trained is of no use to the next process.
            ours = not isinstance(model, SegmentationModel)
            precise = find_precision(precision, self.device)
            self.network = FastModel(built, precise, engine, keep=ours, consume=ours).to(self.device)

    @property
    def precision(self) -> str:
        """Number format that the network computes in: ``float32``, ``bfloat16`` or ``float16``."""
        kind = self.network.precision if isinstance(self.network, FastModel) else torch.float32
        return str(kind).removeprefix("torch.")

    def expect(self, images: int) -> None:
        """Say how many images will come, so that the engine ``auto`` may prepare what pays for that many."""
        if isinstance(self.network, FastModel):
            self.network.expect(images)

    def __call__(self, image: ImageLike) -> Segmentation:
        """Segment an image: a file, a Pillow image, or uint8 RGB pixels. Raises DataError."""
        pixels = _to_tensor(image)
        return Segmentation(pixels, self.low_res_logits(pixels).classes()[0].cpu(), self.info)

    def logits(self, image: ImageLike) -> Tensor:
        """Class logits of an image at its own size: float32, 1 x classes x H x W. Raises DataError."""
        return self.low_res_logits(_to_tensor(image)).full()

    @torch.inference_mode()
    def low_res_logits(self, image: Tensor) -> LowResLogits:
        """Logits of an image (uint8 RGB, 3 x H x W) before their upsampling to its size.

        The image goes through the network at the size that the model's input protocol asks for.
        """
        size = (image.shape[1], image.shape[2])
        inputs = resize_image(image, protocol_size(size, self.info.short_side))
        output = self.network(inputs[None].to(self.device))
        coarse = output if isinstance(output, LowResLogits) else LowResLogits(output["out"])
        return coarse.upsampled(size)


def protocol_size(size: tuple[int, int], short_side: int | None) -> tuple[int, int]:
    """Height and width at which an image of ``size`` goes into a network whose protocol is ``short_side``."""
    if short_side is None:
        return size
    factor = short_side / min(size)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _to_tensor(image: Any) -> Tensor:
    if isinstance(image, str | Path):
        return read_image(image)
    if isinstance(image, Image.Image):
        image = np.array(image.convert("RGB"))
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).contiguous()
    if isinstance(image, Tensor) and image.dtype == torch.uint8 and image.dim() == 3 and image.shape[0] == 3:
        return image
    described = f"{tuple(image.shape)} {image.dtype}" if isinstance(image, Tensor | np.ndarray) else type(image).__name__
    raise DataError(
        f"an image is a file, a Pillow image, or uint8 pixels, H x W x 3 in numpy and 3 x H x W in torch, not {described}"
    )
