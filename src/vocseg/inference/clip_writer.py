"""Write frames as a video with the times of their source."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vocseg.errors import DataError, reason
from vocseg.inference.video import BT709, LIMITED, Frame, Reading, codec_threads, open_video
from vocseg.utils.files import MARK, refuse_to_replace, replacing

log = logging.getLogger("vocseg.predict")
LIMIT = 1.35
"""Bits a second of an overlay, of those of its source."""
COPIED = ("aac", "mp3", "mp2", "ac3", "eac3", "opus", "flac", "alac")
"""Kinds of sound that an overlay has from its source as they are."""
AAC_RATES = (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)


class Encoding(NamedTuple):
    """How a clip is stored; ``like_source``: with the sound and about the size."""

    container: str
    codec: str
    stored: str
    options: dict[str, str]
    like_source: bool


H264 = Encoding("mp4", "libx264", "yuv420p", {"preset": "superfast", "crf": "23"}, True)
"""Half the time of the preset veryfast; at LIMIT it has the PSNR (32.6 dB) of that at 1.1. Sides are made even."""
FFV1 = Encoding("matroska", "ffv1", "gray", {"level": "3", "slicecrc": "1"}, False)
"""Lossless, one byte a pixel."""


class ClipWriter:
    """Writes frames at the times of their source, into a file that appears when it is complete."""

    def __init__(self, path: Path, frame: Frame, encoding: Encoding, size: tuple[int, int]) -> None:
        import av

        refuse_to_replace([path], [frame.source])
        self.path, self.is_live = path, frame.is_live
        self._frame, self._encoding, self._size = frame, encoding, size
        self._waiting: Any = None
        with ExitStack() as files:
            temporary = files.enter_context(replacing(path))
            self._out: Any = files.enter_context(av.open(str(temporary), "w", format=encoding.container))
            self._out.metadata["comment"] = comment(frame.reading)
            source = None if frame.is_live else files.enter_context(open_video(frame.source))
            self._stream = self._add_stream(self._out, source)
            has_sound = encoding.like_source and source is not None and source.streams.audio
            self._sound = iter(self._packets(source)) if has_sound else iter(())
            self._files = files.pop_all()

    def _add_stream(self, out: Any, source: Any) -> Any:
        """Begin the stream of frames."""
        kind, video = self._encoding, None if source is None else source.streams.video[0]
        options = kind.options | (_limit(video, source) if kind.like_source and source else {})
        if kind.codec == "ffv1" and self._size[1] == 1:
            options = {"level": "1"}  # the slices of later ones need two columns
        stream = out.add_stream(kind.codec, rate=(video and video.average_rate) or 30, options=options)
        stream.codec_context.thread_count = codec_threads()
        stream.height, stream.width = (side + side % 2 * kind.like_source for side in self._size)
        stream.pix_fmt, stream.codec_context.time_base = kind.stored, self._frame.time_base
        if kind.like_source:
            picture = self._frame.picture
            stream.codec_context.colorspace = BT709 if picture is None else picture.colorspace
            stream.codec_context.color_range = LIMITED
        return stream

    def add(self, kind: str, pixels: NDArray[np.uint8], size: tuple[int, int], frame: Frame) -> None:
        """Write the next frame, after the sound before it; ``kind``: FFmpeg's name of the format of its ``pixels``."""
        import av

        (height, width), (wanted_height, wanted_width) = size, self._size
        if size != self._size:
            raise DataError(
                f"frame {frame.number} of {frame.source} is {height}x{width}, the first {wanted_height}x{wanted_width}: "
                f"it is not in {self.path.name}"
            )
        if kind == "gbrp" and (height % 2 or width % 2):
            pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        image: Any = av.VideoFrame.from_ndarray(pixels, format=kind)
        if kind == "gbrp":
            colors = "ITU709" if self._stream.codec_context.colorspace == BT709 else "ITU601"
            image = image.reformat(format=self._encoding.stored, dst_colorspace=colors, dst_color_range="MPEG")
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
            end = self._frame.reading.end
            self._add_sound(float("inf") if end is None else end - self._frame.reading.start)

    def _add_sound(self, until: float) -> None:
        while (packet := self._waiting or next(self._sound, None)) is not None:
            self._waiting = packet
            if float(packet.pts * packet.time_base) > until:
                return
            self._out.mux(packet)
            self._waiting = None

    def _packets(self, source: Any) -> Iterator[Any]:
        """Yield the packets of the sound from the first frame on: copied, or in AAC if players of MP4 do not know its kind."""
        stream = source.streams.audio[0]
        start = round(self._frame.first * self._frame.time_base / stream.time_base)
        try:
            if stream.codec.canonical_name in COPIED:
                yield from _copied(source, stream, self._out.add_stream_from_template(stream), start)
            else:
                yield from _encoded(source, stream, self._out, start)
        except Exception as error:  # the frames are worth more
            log.info("%s: its sound, or the rest of it, is left out: %s", self.path, reason(error))


def _copied(source: Any, stream: Any, copy: Any, start: int) -> Iterator[Any]:
    for packet in source.demux(stream):
        if packet.dts is not None and packet.pts is not None and (packet.pts >= start or not start):
            packet.pts, packet.dts, packet.stream = packet.pts - start, packet.dts - start, copy
            yield packet


def _encoded(source: Any, stream: Any, out: Any, start: int) -> Iterator[Any]:
    """Yield the packets of a sound in AAC."""
    import av

    rate, layout = stream.rate if stream.rate in AAC_RATES else AAC_RATES[0], "mono" if stream.channels == 1 else "stereo"
    encoder = out.add_stream("aac", rate=rate, layout=layout)
    resampler = av.AudioResampler(format=encoder.format, layout=layout, rate=rate, frame_size=1024)
    for frame in chain(source.decode(stream), [None]):
        for part in resampler.resample(frame):
            part.pts -= round(start * stream.time_base * rate)
            if part.pts >= 0:
                yield from encoder.encode(part)
    yield from encoder.encode(None)


def comment(reading: Reading) -> str:
    """Return the note in a clip: which frames of its source it has."""
    return f"{MARK.decode()}: stride {reading.stride}, start {reading.start}, end {reading.end}, every {reading.every}"


def is_clip_of(path: Path, reading: Reading) -> bool:
    """Tell whether a file is a complete clip of these frames."""
    try:
        with open_video(str(path)) as container:
            notes = {key.lower(): value for key, value in container.metadata.items()}
    except DataError:
        return False
    return bool(notes.get("comment") == comment(reading))


def _limit(video: Any, source: Any) -> dict[str, str]:
    """Return options that keep the file near the size of its source."""
    rate = video.bit_rate or source.bit_rate
    return {"maxrate": str(int(LIMIT * rate)), "bufsize": str(int(rate))} if rate else {}
