"""The public predictor: an image in, a mask of its own size out."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar, overload

import torch
from torch import Tensor, nn

from vocseg.data.transforms.geometry import resize_image
from vocseg.errors import DataError, ModelError, SettingError, reason
from vocseg.inference.augment import Augmentation, averaged_logits
from vocseg.inference.engines import AT_ONCE, EngineName
from vocseg.inference.images import ImageLike, Size, batches_by_size, stacked, to_pixels
from vocseg.inference.optimize import OptimizedModel, probe
from vocseg.inference.options import CPU_ENGINES, check_machine
from vocseg.inference.result import Segmentation as Segmentation
from vocseg.inference.stream import Loaded, OnError, Stream, load
from vocseg.inference.tiles import TILE, TiledSegmentation, segment_tiled
from vocseg.inference.video import Reading
from vocseg.models import ModelInfo, SegmentationModel
from vocseg.models.any_model import as_model
from vocseg.models.registry import require_trained
from vocseg.models.zoo.vocseg_s import NAME as DEFAULT_MODEL
from vocseg.ops.low_res_logits import LowResLogits
from vocseg.utils.arguments import checked
from vocseg.utils.system import find_device, find_precision

MAX_SHORT_SIDE = 640
"""Shorter side above which images are shrunk for the network, pixels.

Chosen on enlarged images of VOC (benchmarks/large_images.py; docs/predict.md): networks know objects at the sizes that
they have in images of usual size.
"""
MAX_ASPECT = 16
"""Ratio of the sides above which a strip is shrunk below the shorter side, which bounds the memory."""

BATCH_SIZE = 16
BATCH_PIXELS = 1 << 22
"""Images, and their pixels, that go through the network together on a GPU: 16 of VOC's size."""

_FORKED = (
    "this Segmenter works only in the process that made it, since threads of GPUs and engines do not survive a fork; make "
    "one in each process, started with multiprocessing's spawn method, or use the CPU and engine torch"
)

Item = TypeVar("Item")


class Segmenter:
    """Predict masks with one model; by default the one that comes with the package.

    ``model`` and ``weights`` are what :func:`vocseg.create_model` takes, or ``model`` is a network: any ``nn.Module``
    from normalized images to logits, with the names of its ``classes``. A network is copied and put in eval mode.
    ``device``: auto, cpu, cuda or mps. ``precision``: auto (bfloat16 where the processor or GPU computes in it),
    float32, bfloat16 or, on a GPU, float16; the attribute is the one chosen. ``engine``: auto, torch, compile, openvino
    or onnxruntime (:func:`vocseg.inference.engines.choose_engine`). With ``exact`` the network runs as it was trained,
    in float32; otherwise rewritten (:mod:`vocseg.inference.optimize`), which gives the same masks except for rounding.
    ``max_short_side``: larger images are shrunk for the network to this shorter side in pixels, and the mask is brought
    back to their size; None: 640, or what the model says; 0: no image is shrunk. ``tta``: test-time augmentation, the mean
    of the probabilities of the image and its mirror image (flip, 2 passes), or of both at three scales (multiscale, 6).
    Raises ModelError for a model or engine, SettingError for another setting, that cannot be used.

    Several threads may use one Segmenter; each gets the masks that it would get alone. So does a process made by
    ``fork``, on a CPU with the engine torch: it has one of torch's threads, since others do not survive a fork. On a GPU
    and with other engines it raises ModelError at once: make a Segmenter in each process, started with ``spawn``.

    >>> segment = Segmenter("lraspp_mobilenet_v3_large", weights="none", device="cpu")
    >>> segment(torch.zeros(3, 48, 64, dtype=torch.uint8)).mask.shape
    torch.Size([48, 64])
    >>> [result.mask.shape for result in segment([torch.zeros(3, 9, 16, dtype=torch.uint8)] * 2)]
    [torch.Size([9, 16]), torch.Size([9, 16])]
    """

    _fork_is_safe: ClassVar[bool] = False
    """Whether processes forked from now on are kept from waiting for torch's threads."""

    @checked
    def __init__(
        self,
        model: str | Path | nn.Module = DEFAULT_MODEL,
        *,
        weights: str | Path | None = None,
        classes: Sequence[str] | None = None,
        device: str | torch.device = "auto",
        precision: str | torch.dtype = "auto",
        engine: EngineName = "auto",
        exact: bool = False,
        max_short_side: int | None = None,
        tta: Augmentation = "none",
    ) -> None:
        if not Segmenter._fork_is_safe and hasattr(os, "register_at_fork"):
            # With more than one thread, torch would wait forever for those of the parent process.
            os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))
            Segmenter._fork_is_safe = True
        self._process, self._engine = os.getpid(), engine
        self.tta: Augmentation = tta
        if max_short_side is not None and max_short_side < 0:
            raise SettingError(f"max_short_side is {max_short_side}, not a number of pixels, or 0 for no limit")
        precision = str(precision).removeprefix("torch.")
        check_machine(str(device), precision, engine, exact)
        self.device = find_device("cpu" if device == "auto" and engine in CPU_ENGINES else device)
        built = as_model(model, classes, weights)
        self.info: ModelInfo = built.info
        self.max_short_side = (built.info.max_short_side or MAX_SHORT_SIDE) if max_short_side is None else max_short_side
        in_float32 = exact or (precision == "auto" and engine == "onnxruntime")
        dtype = find_precision("float32" if in_float32 else precision, self.device)
        self.precision = str(dtype).removeprefix("torch.")
        self.network: SegmentationModel | OptimizedModel
        if exact:
            self.network = copy.deepcopy(built).eval().to(self.device)
            probe(self.network)
        else:
            self.network = OptimizedModel(built, self.device, dtype, engine)

    def __repr__(self) -> str:
        return f"Segmenter({self.info.architecture}, {len(self.info.classes)} classes, {self.precision} on {self.device})"

    @overload
    def __call__(self, image: ImageLike) -> Segmentation: ...
    @overload
    def __call__(self, image: list[Any] | tuple[Any, ...], batch_size: int | None = None) -> list[Segmentation]: ...
    def __call__(
        self, image: ImageLike | list[Any] | tuple[Any, ...], batch_size: int | None = None
    ) -> Segmentation | list[Segmentation]:
        """Segment an image, or a list of images in batches of equal size.

        An image is a file, an address (http, https), a file's bytes, an open file, a Pillow image, an array H x W x 3 or a
        tensor 3 x H x W: RGB, uint8 or floats in 0..1; gray images (H x W too) and a fourth channel, alpha, are also
        taken. Nothing tells OpenCV's BGR from RGB: turn it, ``image[..., ::-1]``. A list gives a list in the same order,
        with the masks that the images would get one at a time (on a GPU, except for rounding). Raises DataError for what
        is not a readable image.
        """
        if isinstance(image, list | tuple):
            return list(self.stream(image, batch_size=batch_size))
        return self.segment_loaded([load(0, image)], keep_logits=True)[0]

    @checked
    def stream(
        self, sources: Any, *, batch_size: int | None = None, on_error: OnError = "raise", frames: bool = False,
        stride: int = 1, start: float = 0.0, end: float | None = None, every: float | None = None,
    ) -> Stream:  # fmt: skip
        """Segment many images in bounded memory; iterate over the results, in the order of the images.

        ``sources``: a file, a folder (searched with all below it), a glob pattern, a list (.txt, .csv), an archive (zip,
        tar), an address, ``-`` (standard input), a video, a camera (``"0"``), a stream (``rtsp://...``), or an iterable of
        images as a call takes them or of :class:`vocseg.inference.sources.Item`. Of a TIFF file each page is read;
        ``frames``: of an animation each frame, not only the first. Of a video, every ``stride``-th frame is read, from
        ``start`` to ``end`` and at most one ``every`` so many seconds. In an iterable, a file is one image.
        ``batch_size``: images of equal size that go through the network together; by default 1 on a CPU, where a batch is
        no faster, and on a GPU as many as 16. ``on_error``: at an image that cannot be read, ``raise`` its DataError after
        the results before it, or ``skip`` it and note the error in the stream's ``errors``.

        >>> from vocseg.data.samples import FOLDER
        >>> segment = Segmenter(device="cpu")
        >>> [result.source.name for result in segment.stream(FOLDER / "JPEGImages" / "c*.jpg")]
        ['camera.jpg', 'chelsea.jpg']
        """
        return Stream(self, sources, batch_size, on_error, Reading(frames, stride, start, end, every))

    @checked
    def segment_tiled(
        self, source: Any, out: str | Path, *, tile: int = TILE, overlap: int | None = None, title: str | None = None,
        polygons: bool = False,
    ) -> TiledSegmentation:  # fmt: skip
        """Segment a huge image at its full size, tile by tile, and write the mask to ``out``, in bounded memory.

        ``source``: an image as a call takes it; a file is read by parts with the extra ``tiles``. ``out``: a palette image,
        ``.png``, or ``.tif`` in tiles, with the coordinates of a GeoTIFF. ``tile``: side of what the network sees at once,
        at most, pixels. ``overlap``: of two tiles, at least; None: a quarter of a tile. ``title``: shows a progress bar on a
        terminal. ``polygons``: trace regions too, whose corners are held in memory. Raises DataError for an image that
        cannot be read, OutputError for a mask that cannot be written.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Segmenter(device="cpu").segment_tiled(torch.zeros(3, 96, 640, dtype=torch.uint8), f"{folder}/mask.png").tiles
        2
        """
        return segment_tiled(self, source, out, tile, overlap, title, polygons=polygons)

    def batches(self, items: Iterable[Item], size_of: Callable[[Item], Size], batch_size: int | None) -> Iterator[list[Item]]:
        """Group items by size into batches for the network; see :meth:`stream` for the default ``batch_size``."""
        if batch_size is not None and batch_size < 1:
            raise SettingError(f"batch_size is {batch_size}, not a positive number")

        def limit(size: Size) -> int:
            if batch_size or self.device.type == "cpu":
                return batch_size or 1
            height, width = self.network_size(size[0], size[1])
            return max(1, min(BATCH_SIZE, BATCH_PIXELS // max(1, height * width, size[0] * size[1])))

        return batches_by_size(items, size_of, limit)

    def images_at_once(self, total: int) -> int:
        """Return how many images a stream of ``total`` has in the network at once, each in an equal share of torch's threads.

        One after another in all threads takes longer. Torch's convolutions in float32 add up in an order that depends on the
        number of threads; there, images go one by one, so that each gets the mask that it would get alone.
        """
        network = self.network
        engine = network.engine_for(total) if isinstance(network, OptimizedModel) and self.device.type == "cpu" else None
        are_same = engine == "openvino" or (engine == "torch" and self.precision == "bfloat16")
        return min(AT_ONCE, torch.get_num_threads()) if are_same else 1

    @property
    def model(self) -> SegmentationModel:
        """The network with its normalization and padding; rewritten for speed unless ``exact``."""
        return self.network.model if isinstance(self.network, OptimizedModel) else self.network

    def network_size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width at which the network sees an image of ``height`` x ``width`` pixels.

        >>> Segmenter("two_layer_net", device="cpu").network_size(3000, 4000)
        (640, 853)
        """
        height, width = self.info.input_size(height, width)
        limit = self.max_short_side
        if not limit:
            return height, width
        # Strips, whose shorter side is small, have an area of at most MAX_ASPECT squares, and no longer side than these in a
        # row: the upsampling of a side takes memory by its square.
        area, longest = limit * math.sqrt(MAX_ASPECT / (height * width)), limit * MAX_ASPECT / max(height, width)
        factor = min(1.0, limit / min(height, width), area, longest)
        return max(1, round(height * factor)), max(1, round(width * factor))

    def segment_loaded(self, batch: Sequence[Loaded], total: int = 1, keep_logits: bool = False) -> list[Segmentation]:
        """Segment images of one size in memory; ``total``: see :meth:`low_res_logits`. ``keep_logits``: for probabilities."""
        start = time.perf_counter()
        try:
            logits = self.low_res_logits(stacked([item.pixels for item in batch]), total)
            masks = logits.classes().cpu()
        except (MemoryError, RuntimeError) as error:
            height, width = batch[0].pixels.shape[1:]
            why = "there is too little memory" if "memory" in str(error) or isinstance(error, MemoryError) else reason(error)
            raise DataError(f"cannot segment image {batch[0].key}, {height}x{width} pixels: {why}") from error
        seconds = (time.perf_counter() - start) / len(batch)
        results = []
        size = self.network_size(masks.shape[1], masks.shape[2])
        for number, (item, mask) in enumerate(zip(batch, masks, strict=True)):
            again = partial(logits.of_image, number) if keep_logits else partial(self.low_res_logits, item.pixels[None], total)
            taken = item.seconds + seconds
            results.append(Segmentation(item.pixels, mask, self.info, item.source, taken, again, size, tuple(item.notes)))
        return results

    def logits(self, image: ImageLike) -> Tensor:
        """Compute the class logits of an image at its own size: float32, 1 x classes x H x W. Raises DataError."""
        return self.low_res_logits(to_pixels(image)[None]).full()

    @torch.inference_mode()
    def low_res_logits(self, images: Tensor, total: int = 1) -> LowResLogits:
        """Compute the logits of images (uint8 RGB, N x 3 x H x W) before their upsampling to H x W.

        The images enter the network at :meth:`network_size`; on a CPU one by one, so that what a batch holds does not
        change how sums are rounded. ``total``: how many images the caller is going to pass in all, by which the engine
        ``auto`` is chosen.
        """
        size = (images.shape[2], images.shape[3])
        return self.run(resize_image(images, self.network_size(*size)), total).upsampled(size)

    @torch.inference_mode()
    def run(self, inputs: Tensor, total: int = 1, tta: Augmentation | None = None) -> LowResLogits:
        """Run the network on images (RGB, 0..255, N x 3 x H x W) at the size that they have; see :meth:`low_res_logits`."""
        if self._process != os.getpid():
            if self.device.type != "cpu" or self._engine not in ("auto", "torch"):
                raise ModelError(_FORKED)
            total = 1  # auto may have prepared another engine
        return averaged_logits(partial(self._run, total=total), inputs, tta or self.tta)

    def _run(self, inputs: Tensor, total: int) -> LowResLogits:
        network = self.network
        results = [
            network(part, total) if isinstance(network, OptimizedModel) else network.low_res_logits(part)["out"]
            for part in (torch.split(inputs, 1) if self.device.type == "cpu" else [inputs.to(self.device, non_blocking=True)])
        ]
        values = results[0].values if len(results) == 1 else torch.cat([result.values for result in results])
        return LowResLogits(values, results[0].steps)


def as_segmenter(model: str | Path | nn.Module | Segmenter, **options: Any) -> Segmenter:
    """Return a Segmenter, made with the ``options`` unless it is one, which has its own.

    Raises SettingError for an option beside a Segmenter, ModelError for the name of an untrained network.
    """
    if isinstance(model, Segmenter):
        given = [name for name, value in options.items() if not (value is None or value is False or value in ("auto", "none"))]
        if given:
            raise SettingError(f"{given[0]} is what the Segmenter that was passed was made with; set it there")
        return model
    if not isinstance(model, nn.Module):
        require_trained(str(model), options["weights"])
    return Segmenter(model, **options)
