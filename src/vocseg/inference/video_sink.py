"""Overlays: an image of each image, and one video of each video, with its times and its sound."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocseg import draw, voc
from vocseg.errors import reason
from vocseg.inference import sinks
from vocseg.inference.result import Segmentation
from vocseg.inference.sources import Item
from vocseg.inference.video import Frame, open_video
from vocseg.models import ModelInfo
from vocseg.utils.files import MARK, replacing

log = logging.getLogger("vocseg.predict")

QUALITY = 20
"""Of libx264 (crf): little loss to see."""


class OverlaySink(sinks.OverlaySink):
    """``NAME_overlay.jpg``, and ``NAME_overlay.mp4`` of a video: H.264, without the legend, which changes its size."""

    def __init__(self, out: Path, info: ModelInfo, opacity: float = 0.55) -> None:
        super().__init__(out, info, opacity)
        self._writer: ClipWriter | None = None

    def file(self, item: Item) -> Path:
        if item.frame is None:
            return super().file(item)
        return self.out / f"{item.frame.clip}_overlay.mp4"

    def write(self, result: Segmentation, item: Item) -> None:
        if item.frame is None:
            super().write(result, item)
            return
        path = self.file(item)
        tinted = draw.overlay(result.image, result.mask, result.info.palette, self.opacity, voc.background(result.classes))
        if self._writer is not None and self._writer.path != path:
            self._finish(True)
        if self._writer is None:
            self._writer = ClipWriter(path, item.frame, tinted.size)
        self._writer.add(np.asarray(tinted), item.frame)

    def close(self) -> None:
        self._finish(self.is_complete or (self._writer is not None and self._writer.is_live))

    def _finish(self, is_complete: bool) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close(is_complete)


class ClipWriter:
    """Writes frames as H.264 at the times of their source, with its sound as it is; ``size``: width and height."""

    def __init__(self, path: Path, frame: Frame, size: tuple[int, int]) -> None:
        import av

        self.path, self.is_live, self._first, self._base = path, frame.is_live, frame.first, frame.time_base
        self._end = frame.end - float(frame.first * frame.time_base)
        self._files = ExitStack()
        temporary = self._files.enter_context(replacing(path))
        self._out: Any = self._files.enter_context(av.open(str(temporary), "w", format="mp4"))
        self._out.metadata["comment"] = MARK.decode()
        source = None if frame.is_live else self._files.enter_context(open_video(frame.source))
        video = None if source is None else source.streams.video[0]
        options = {"crf": str(QUALITY)} | _limit(video, source)
        rate = (video and video.average_rate) or 30
        self._stream = self._out.add_stream("libx264", rate=rate, options=options)
        self._stream.width, self._stream.height = (side + side % 2 for side in size)
        self._stream.pix_fmt, self._stream.codec_context.time_base = "yuv420p", frame.time_base
        self._sound = iter(self._packets(source)) if source is not None and source.streams.audio else iter(())
        self._waiting: Any = None

    def add(self, pixels: NDArray[np.uint8], frame: Frame) -> None:
        """Write the next frame, after the sound before it."""
        import av

        height, width = pixels.shape[:2]
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        image = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        image.pts, image.time_base = frame.pts - frame.first, frame.time_base
        self._add_sound(float(image.pts * frame.time_base))
        self._out.mux(self._stream.encode(image))

    def close(self, is_complete: bool) -> None:
        """Finish the file, or with ``is_complete`` false leave nothing."""
        if not is_complete:
            self._files.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
            return
        with self._files:
            self._out.mux(self._stream.encode())
            self._add_sound(self._end)

    def _add_sound(self, until: float) -> None:
        while (packet := self._waiting or next(self._sound, None)) is not None:
            self._waiting = packet
            if float(packet.pts * packet.time_base) > until:
                return
            self._out.mux(packet)
            self._waiting = None

    def _packets(self, source: Any) -> Iterator[Any]:
        """Yield the packets of the sound, copied, from the first frame on."""
        stream = source.streams.audio[0]
        try:
            copy = self._out.add_stream_from_template(stream)
        except Exception as error:
            log.info("%s: its sound is left out: %s", self.path, reason(error))
            return
        start = round(self._first * self._base / stream.time_base)
        for packet in source.demux(stream):
            if packet.dts is not None and packet.pts is not None and (packet.pts >= start or not self._first):
                packet.pts, packet.dts, packet.stream = packet.pts - start, packet.dts - start, copy
                yield packet


def _limit(video: Any, source: Any) -> dict[str, str]:
    """Return options that keep the file near the size of its source."""
    if source is None:
        return {}
    rate = video.bit_rate or source.bit_rate
    return {"maxrate": str(int(1.1 * rate)), "bufsize": str(int(rate))} if rate else {}
