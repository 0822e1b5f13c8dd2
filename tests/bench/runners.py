"""Cases that a new process can import."""

from __future__ import annotations

import os

from vocseg.bench.harness import Runner

MEGABYTE = 1 << 20


def allocating(megabytes: int) -> Runner:
    kept = os.urandom(MEGABYTE) * megabytes
    return lambda: len(kept)


def ending() -> Runner:
    os._exit(9)
