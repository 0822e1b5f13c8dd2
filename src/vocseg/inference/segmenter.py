"""The public predictor: an image in, a mask of its own size out."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vocseg.data.image_io import read_image
from vocseg.data.transforms.geometry import resize_image
from vocseg.errors import DataError, ModelError
from vocseg.inference.engines import CPU_ENGINES, EngineName
from vocseg.inference.optimize import OptimizedModel
from vocseg.inference.result import Segmentation as Segmentation
from vocseg.models import ModelInfo, SegmentationModel, create_model
from vocseg.models.zoo.vocseg_s import NAME as DEFAULT_MODEL
from vocseg.ops.low_res_logits import LowResLogits
from vocseg.utils.system import find_device, find_precision

ImageLike = str | Path | Image.Image | np.ndarray[Any, Any] | Tensor
"""A file, a Pillow image, or uint8 RGB pixels: an array H x W x 3 or a tensor 3 x H x W."""

BATCH_SIZE = 16
"""Images of a batch on a GPU."""


class Segmenter:
    """Predict masks with one model; by default the one that comes with the package.

    ``model`` and ``weights`` are what :func:`vocseg.create_model` takes, or ``model`` is a network: any ``nn.Module`` from
    normalized images to logits, with the names of its ``classes``. A network is copied and put in eval mode. ``device``: auto,
    cpu, cuda or mps. ``precision``: auto, float32, bfloat16 or, on a GPU, float16. ``engine``: auto, torch, compile, openvino
    or onnxruntime (:func:`vocseg.inference.engines.choose_engine`). With ``exact`` the network runs as it was trained, in
    float32; otherwise rewritten (:mod:`vocseg.inference.optimize`), which gives the same masks except for rounding.
    Raises ModelError for a model or engine, SettingError for a device or precision, that cannot be used.

    Several threads may use one Segmenter; each gets the masks that it would get alone. A process made by ``fork`` needs a
    Segmenter of its own: engines' threads do not survive a fork, so one made before it raises ModelError.

    >>> segment = Segmenter("lraspp_mobilenet_v3_large", weights="none", device="cpu")
    >>> segment(torch.zeros(3, 48, 64, dtype=torch.uint8)).mask.shape
    torch.Size([48, 64])
    >>> [result.mask.shape for result in segment([np.zeros((9, 16, 3), np.uint8), np.zeros((12, 12, 3), np.uint8)])]
    [torch.Size([9, 16]), torch.Size([12, 12])]
    """

    def __init__(
        self,
        model: str | Path | nn.Module = DEFAULT_MODEL,
        *,
        weights: str | None = None,
        classes: Sequence[str] | None = None,
        device: str = "auto",
        precision: str = "auto",
        engine: EngineName = "auto",
        exact: bool = False,
    ) -> None:
        self.device = find_device("cpu" if device == "auto" and engine in CPU_ENGINES else device)
        if engine in CPU_ENGINES and self.device.type != "cpu":
            raise ModelError(f"engine {engine} runs on the CPU only, not on {self.device}")
        built = as_model(model, classes, weights)
        self.info: ModelInfo = built.info
        self.network: SegmentationModel | OptimizedModel
        if exact:
            self.network = copy.deepcopy(built).eval().to(self.device)
        else:
            kind = find_precision("float32" if precision == "auto" and engine == "onnxruntime" else precision, self.device)
            self.network = OptimizedModel(built, self.device, kind, engine)
        self._process = os.getpid()

    @property
    def precision(self) -> str:
        """Number format that the network computes in: ``float32``, ``bfloat16`` or ``float16``."""
        kind = self.network.precision if isinstance(self.network, OptimizedModel) else torch.float32
        return str(kind).removeprefix("torch.")

    @property
    def batch_size(self) -> int:
        """Images that lists, streams and evaluations put in a batch.

        On a CPU 1: a batch is no faster there.
        """
        return 1 if self.device.type == "cpu" else BATCH_SIZE

    @overload
    def __call__(self, image: ImageLike) -> Segmentation: ...
    @overload
    def __call__(self, image: list[Any] | tuple[Any, ...], batch_size: int | None = None) -> list[Segmentation]: ...
    def __call__(
        self, image: ImageLike | list[Any] | tuple[Any, ...], batch_size: int | None = None
    ) -> Segmentation | list[Segmentation]:
        """Segment an image: a file, a Pillow image, or uint8 RGB pixels; or a list of them, in batches of equal size.

        A list gives a list in the same order, with the masks that the images would get one at a time (on a GPU, except for
        rounding). Raises DataError for what is not a readable image.
        """
        if isinstance(image, list | tuple):
            return [self._segment(item) for item in image]
        return self._segment(image)

    def _segment(self, image: Any) -> Segmentation:
        start = time.perf_counter()
        pixels = to_pixels(image)
        logits = self.low_res_logits(pixels[None])
        mask = logits.classes()[0].cpu()
        source = Path(image) if isinstance(image, str | Path) else None
        return Segmentation(pixels, mask, self.info, source, time.perf_counter() - start, lambda: logits)

    def logits(self, image: ImageLike) -> Tensor:
        """Compute the class logits of an image at its own size: float32, 1 x classes x H x W. Raises DataError."""
        return self.low_res_logits(to_pixels(image)[None]).full()

    @torch.inference_mode()
    def low_res_logits(self, images: Tensor, total: int = 1) -> LowResLogits:
        """Compute the logits of images (uint8 RGB, N x 3 x H x W) before their upsampling to H x W.

        The images enter the network at the size that the model's input protocol says; on a CPU one by one, so that what a batch
        holds does not change how sums are rounded. ``total``: how many images the caller is going to pass in all, by which the
        engine ``auto`` is chosen.
        """
        if os.getpid() != self._process:
            raise ModelError("this Segmenter was made in another process; make a new one after fork")
        images = images if images.dim() == 4 else images[None]
        size = (images.shape[2], images.shape[3])
        inputs = resize_image(images, self.info.input_size(*size))
        if self.device.type == "cpu" and len(inputs) > 1:
            each = [self._network_logits(image[None], total) for image in inputs]
            logits = LowResLogits(torch.cat([one.values for one in each]), each[0].steps)
        else:
            logits = self._network_logits(inputs.to(self.device, non_blocking=True), total)
        return logits.upsampled(size)

    def _network_logits(self, inputs: Tensor, total: int) -> LowResLogits:
        if isinstance(self.network, OptimizedModel):
            return self.network(inputs, total)
        return self.network.low_res_logits(inputs)["out"]


def as_model(model: str | Path | nn.Module, classes: Sequence[str] | None = None, weights: str | None = None) -> SegmentationModel:
    """Return a model for a name, a file, or any network; ``classes`` are the names that a plain ``nn.Module`` predicts.

    Raises ModelError if a plain network comes without classes, or weights are given for a network.
    """
    if not isinstance(model, nn.Module):
        return create_model(str(model), classes, weights)
    if weights is not None:
        raise ModelError("weights are for a model's name or file, not for a network, which has its own")
    if isinstance(model, SegmentationModel):
        return model
    if not classes:
        raise ModelError(f"network {type(model).__name__} does not say what it predicts; pass classes=[...], their names in order")
    return SegmentationModel(model, ModelInfo(type(model).__name__, tuple(classes)))


def to_pixels(image: Any) -> Tensor:
    """Return an image as a uint8 RGB tensor, 3 x H x W; DataError if it is not one or cannot be read."""
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
