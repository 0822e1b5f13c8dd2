"""Frames of videos, cameras and streams, by PyAV (the extra ``video``)."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vocseg import draw
from vocseg.errors import DataError, reason
from vocseg.inference.options import check_reading
from vocseg.utils.stand_ins import open_file, url_of
from vocseg.utils.system import cores, max_pixels

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,mxf"
"""Containers that files may be. Playlists are none: they would open other files and addresses."""
BT709, LIMITED = 1, 1
"""FFmpeg's numbers of the usual colors of H.264."""
MATRICES = {BT709: draw.BT709, 2: draw.BT601, 5: draw.BT601, 6: draw.BT601}
"""Colors of videos by FFmpeg's numbers; 2: not given, which FFmpeg reads as BT.601."""
TIMEOUT = 30.0
"""Seconds to wait for a stream."""


@dataclass(frozen=True)
class Reading:
    """Which images of a file with several are read.

    ``frames``: all of an animation, not only the first. Of videos: every ``stride``-th frame, from ``start`` to ``end``, and
    at most one ``every`` so many seconds.
    """

    frames: bool = False
    stride: int = 1
    start: float = 0.0
    end: float | None = None
    every: float | None = None

    def __post_init__(self) -> None:
        check_reading(self.stride, self.start, self.end, self.every)


class Frame(NamedTuple):
    """Where an image is in a video.

    ``source``: what PyAV opens; ``clip``: path of the clip's output below the output folder; ``pts``: time of the frame in
    units of ``time_base``; ``first``: that of the first frame that is read, if ``start`` was given, otherwise that at which
    the file starts; ``reading``: which frames are read; ``picture``: the frame as PyAV decodes it, if it is
    :func:`_is_plain`.
    """

    source: str
    clip: Path
    number: int
    pts: int
    time_base: Fraction
    first: int
    is_live: bool
    reading: Reading
    picture: Any = None


def codec_threads() -> int:
    """Return in how many threads a video is decoded, or encoded: both at once, beside the network, have all cores."""
    return max(1, cores() // 2)


def frame_count(source: str, reading: Reading) -> int:
    """Return about how many frames are read of a file, as its head tells; 1 if it does not."""
    try:
        with open_video(source) as container:
            seconds, stream = (container.duration or 0) / 1e6, container.streams.video[0]
            count = stream.frames or seconds * float(stream.average_rate or 0)
    except (DataError, IndexError):
        return 1
    chosen = max(0.0, min(seconds, reading.end or seconds) - reading.start)
    count *= chosen / seconds / reading.stride if seconds else 0
    return max(1, int(min(count, chosen / reading.every) if reading.every else count))


def open_video(source: str) -> Any:
    """Open a file, which may stand in for one at a URL, a camera (its number, or ``/dev/video0``) or an address (rtsp://)."""
    try:
        import av
    except ImportError as error:
        raise DataError(f"cannot read {source}: videos need PyAV (pip install av, or vocseg[video])") from error
    try:
        if source.isdigit() or source.startswith("/dev/video"):
            if sys.platform == "darwin":
                return av.open(source, format="avfoundation", options={"framerate": "30"})
            return av.open(f"/dev/video{source}" if source.isdigit() else source, format="v4l2")
        if "://" in source:
            return av.open(source, timeout=TIMEOUT)
        file = source if Path(source).exists() or url_of(source) is None else open_file(Path(source))
        return av.open(file, options={"protocol_whitelist": "file", "format_whitelist": FORMATS})
    except Exception as error:
        raise DataError(f"cannot open video {source}: {reason(error)}") from error


def read_frames(source: str, clip: Path, is_live: bool, reading: Reading) -> Generator[tuple[Frame, NDArray[np.uint8]] | DataError]:
    """Yield frames, upright, RGB, H x W x 3; a DataError where some are damaged.

    Raises DataError for what is no video, or if no frame is chosen.
    """
    with open_video(source) as container:
        if not container.streams.video:
            raise DataError(f"cannot read {source}: it has no video")
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "AUTO", codec_threads()
        if stream.width * stream.height > max_pixels():
            raise DataError(f"cannot read {source}: its frames are {stream.height}x{stream.width}; raise --max-pixels")
        yield from _chosen(container, stream, source, clip, is_live, reading)


def _chosen(
    container: Any, stream: Any, source: str, clip: Path, is_live: bool, reading: Reading
) -> Iterator[tuple[Frame, NDArray[np.uint8]] | DataError]:
    """Yield the frames of a stream that ``reading`` chooses."""
    start = float((stream.start_time or 0) * stream.time_base)
    first = None if reading.start else max(0, round((container.start_time or 0) / 1e6 / stream.time_base))
    number, count, time, following = 0, 0, 0.0, reading.start
    for frame in _decoded(container, stream, source):
        if isinstance(frame, DataError):
            yield frame
            continue
        number += 1
        time = float(frame.pts * stream.time_base) - start
        if reading.end is not None and time >= reading.end:
            break
        if time + 1e-6 < following or (number - 1) % reading.stride:
            continue
        following += (1 + int((time + 1e-6 - following) // reading.every)) * reading.every if reading.every else 0
        count += 1
        first = frame.pts if first is None else first
        pixels = np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90)))
        picture = frame if _is_plain(frame) else None
        yield Frame(source, clip, number, frame.pts, stream.time_base, first, is_live, reading, picture), pixels
    if not count:
        why = f"none of its {number} frames, which end at {time:.1f} s, is between start and end" if number else "it has no frames"
        raise DataError(f"cannot read {source}: {why}")


def _is_plain(frame: Any) -> bool:
    """Tell whether a frame is as most are: upright, in YUV 4:2:0 of usual colors, with even sides."""
    sides = frame.width, frame.height
    usual = frame.format.name == "yuv420p" and int(frame.colorspace) in MATRICES and int(frame.color_range) in (0, LIMITED)
    return usual and not any(side % 2 for side in sides) and not round(frame.rotation / 90) % 4


def _decoded(container: Any, stream: Any, source: str) -> Iterator[Any]:
    """Yield all frames with their times, in order; a DataError where some are damaged."""
    import av

    number, last = 0, -1
    step = max(1, round(1 / (stream.average_rate or 30) / stream.time_base))
    for packet in container.demux(stream):
        try:
            decoded = packet.decode()
        except av.error.FFmpegError as error:
            yield DataError(f"cannot decode video {source} after frame {number}: {reason(error)}")
            continue
        for frame in decoded:
            number += 1
            pts = frame.dts if frame.pts is None else frame.pts
            frame.pts = last + step if pts is None else max(pts, last + 1)  # some files and cameras give none, or go back
            last = frame.pts
            yield frame
