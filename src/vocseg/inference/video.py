"""Frames of videos, cameras and streams, by PyAV (the extra ``video``)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vocseg.errors import DataError, SettingError, reason
from vocseg.utils.system import max_pixels

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,mxf"
"""Containers that files may be. Playlists are none: they would open other files and addresses."""
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
        if self.stride < 1:
            raise SettingError(f"stride is {self.stride}, not a positive number of frames")
        for name in ("start", "end", "every"):
            value = getattr(self, name)
            if value is not None and not value >= (0 if name == "start" else 1e-6):
                raise SettingError(f"{name} is {value}, not a positive number of seconds")


class Frame(NamedTuple):
    """Where an image is in a video.

    ``source``: what PyAV opens; ``clip``: path of the clip's output below the output folder; ``pts``: time of the frame in
    units of ``time_base``; ``first``: that of the first frame that is read, if ``start`` was given, otherwise 0; ``end``:
    seconds after which nothing is read.
    """

    source: str
    clip: Path
    number: int
    pts: int
    time_base: Fraction
    first: int
    is_live: bool
    end: float


def open_video(source: str) -> Any:
    """Open a file, a camera (its number, or ``/dev/video0``) or an address (rtsp://) with PyAV."""
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
        return av.open(source, options={"protocol_whitelist": "file", "format_whitelist": FORMATS})
    except Exception as error:
        raise DataError(f"cannot open video {source}: {reason(error)}") from error


def read_frames(source: str, clip: Path, is_live: bool, reading: Reading) -> Iterator[tuple[Frame, NDArray[np.uint8]] | DataError]:
    """Yield frames, upright, RGB, H x W x 3; a DataError where some are damaged. Raises DataError for what is no video."""
    import av

    with open_video(source) as container:
        if not container.streams.video:
            raise DataError(f"cannot read {source}: it has no video")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        if stream.width * stream.height > max_pixels():
            raise DataError(f"cannot read {source}: its frames are {stream.height}x{stream.width}; raise --max-pixels")
        end = float("inf") if reading.end is None else reading.end
        number, following, first = 0, reading.start, None
        for packet in container.demux(stream):
            try:
                decoded = packet.decode()
            except av.error.FFmpegError as error:
                yield DataError(f"cannot decode video {source} after frame {number}: {reason(error)}")
                continue
            for frame in decoded:
                number += 1
                time = float(frame.time or 0.0) - float((stream.start_time or 0) * stream.time_base)
                if time >= end:
                    return
                if time + 1e-6 < following or (number - 1) % reading.stride:
                    continue
                following += (1 + int((time + 1e-6 - following) // reading.every)) * reading.every if reading.every else 0
                pts = int(frame.pts or 0)
                first = pts if first is None else first
                place = Frame(source, clip, number, pts, stream.time_base, first if reading.start else 0, is_live, end)
                pixels = np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))
                yield place, np.ascontiguousarray(pixels)
