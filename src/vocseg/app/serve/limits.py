"""What the service does at most."""

from __future__ import annotations

from dataclasses import dataclass

from vocseg.errors import SettingError
from vocseg.utils.system import cores

GPU_WORKERS = 2
"""Of which one reads and writes images while the other uses the GPU."""
BUFFERS = 8
"""Requests of the largest size that may be in memory before they are queued."""


@dataclass(frozen=True)
class Limits:
    """``workers`` images are segmented at a time, each by ``threads``; see :func:`vocseg.serve` for the others."""

    workers: int
    threads: int
    queue: int
    timeout: float
    max_bytes: int
    max_pixels: int

    @classmethod
    def of(
        cls, device: str, *, workers: int | None, queue: int, timeout: float, max_bytes: int, max_pixels: int
    ) -> Limits:  # fmt: skip
        """Check the limits, and choose the number of workers for a device.

        On a CPU one thread for each image wastes no time on sharing layers between threads, so the default is as many
        workers as processors.
        """
        for name, value in {"queue": queue, "max_bytes": max_bytes, "max_pixels": max_pixels, "workers": workers}.items():
            if value is not None and value < 1:
                raise SettingError(f"{name} is {value}, not a positive number")
        if not 0 < timeout <= 86400:
            raise SettingError(f"timeout is {timeout:g} s; it must be more than 0 and at most 86400, a day")
        workers = workers or (cores() if device == "cpu" else GPU_WORKERS)
        return cls(workers, max(1, cores() // workers), queue, float(timeout), max_bytes, max_pixels)

    @property
    def max_buffered(self) -> int:
        """Bytes of all uploads that may be in memory while they arrive."""
        return BUFFERS * self.max_bytes
