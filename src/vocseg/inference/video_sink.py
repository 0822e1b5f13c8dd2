"""Overlays and masks: an image of each image, and one video of each video."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from vocseg import draw, voc
from vocseg.inference import sinks
from vocseg.inference.clip_writer import FFV1, H264, ClipWriter, Encoding
from vocseg.inference.result import Segmentation
from vocseg.inference.sources import Item
from vocseg.inference.video import MATRICES, Frame
from vocseg.models import ModelInfo

if TYPE_CHECKING:
    from vocseg.inference.tiles import TiledSegmentation


class ClipSink(sinks.Sink):
    """Writes one video of each video; ``clip_suffix``: what is added to the name of its source."""

    clip_suffix: ClassVar[str]
    encoding: ClassVar[Encoding]

    def __init__(self, out: Path, info: ModelInfo, opacity: float = voc.OPACITY) -> None:
        super().__init__(out, info, opacity)
        self._writer: ClipWriter | None = None

    @classmethod
    def path(cls, out: Path, item: Item) -> Path:
        if not item.is_video:
            return super().path(out, item)
        return out / f"{item.frame.clip if item.frame else item.output}{cls.clip_suffix}"

    def write(self, result: Segmentation, item: Item) -> None:
        if item.frame is None:
            super().write(result, item)
            return
        path, size = self.file(item), result.size
        if self._writer is not None and self._writer.path != path:
            self._finish(True)
        if self._writer is None:
            self._writer = ClipWriter(path, item.frame, self.encoding, size)
        self._writer.add(*self.pixels(result, item.frame), size, item.frame)

    def pixels(self, result: Segmentation, frame: Frame) -> tuple[str, NDArray[np.uint8]]:
        """Return the frame of a result: FFmpeg's name of its format, and the array."""
        raise NotImplementedError

    def close(self) -> None:
        self._finish(self.is_complete or (self._writer is not None and self._writer.is_live))

    def _finish(self, is_complete: bool) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close(is_complete)


class OverlaySink(ClipSink, sinks.OverlaySink):
    """``NAME_overlay.jpg``, and ``NAME_overlay.mp4`` of a video: H.264 with its sound; no legend, which changes its size."""

    clip_suffix, encoding = "_overlay.mp4", H264

    def pixels(self, result: Segmentation, frame: Frame) -> tuple[str, NDArray[np.uint8]]:
        look = result.info.palette, self.opacity, voc.background(result.classes)
        picture = frame.picture
        if picture is not None and (picture.height, picture.width) == result.size:  # that of tiles may be smaller
            return "yuv420p", draw.tinted_yuv(picture.to_ndarray(), result.mask, *look, MATRICES[int(picture.colorspace)])
        return "gbrp", draw.tinted(result.image, result.mask, *look).transpose(1, 2, 0)

    def write_tiled(self, result: TiledSegmentation, item: Item) -> None:
        if item.frame is None:
            super().write_tiled(result, item)
        else:
            self.write(result.overview, item)


class MaskVideoSink(ClipSink, sinks.MaskSink):
    """``NAME.png``, and ``NAME_mask.mkv`` of a video: FFV1, whose gray values are class ids."""

    clip_suffix, encoding = "_mask.mkv", FFV1
    write_tiled = sinks.Sink.write_tiled  # tiles write PNG and TIFF

    def pixels(self, result: Segmentation, frame: Frame) -> tuple[str, NDArray[np.uint8]]:
        return "gray", result.mask.numpy()
