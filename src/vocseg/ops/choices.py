"""Which way of computing was measured to be the fastest, remembered on disk for the machine at hand."""

from __future__ import annotations

import atexit
import json
import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import torch

from vocseg.errors import VocsegError
from vocseg.utils.files import write_json
from vocseg.utils.system import processor


def cache_folder() -> Path:
    """Where vocseg keeps what it can make again: ``VOCSEG_CACHE``, or ``vocseg`` in the user's cache folder."""
    if "VOCSEG_CACHE" in os.environ:
        return Path(os.environ["VOCSEG_CACHE"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vocseg"


class Choices:
    """Names chosen by measurement, by key. A process decides each key once; the next one finds it on disk."""

    def __init__(self) -> None:
        self.made: dict[str, str] = {}
        self._unsaved = False
        self._measuring = threading.RLock()  # a measurement may find choices of its own

    def find(self, key: str, names: Sequence[str], measure: Callable[[], Mapping[str, float]]) -> str:
        """The choice for ``key`` among ``names``: the known one, or that of the least seconds by ``measure()``."""
        chosen = self.known(key, names)
        if chosen is not None:
            return chosen
        # Threads that measured side by side would disturb each other, and might choose differently.
        with self._measuring:
            chosen = self.known(key, names)
            if chosen is None:
                seconds = measure()
                chosen = min(names, key=seconds.__getitem__)
                if not self._unsaved:
                    atexit.register(self.save)
                self._unsaved = True
                self.made[_whole(key, names)] = chosen
        return chosen

    def known(self, key: str, names: Sequence[str]) -> str | None:
        """The choice for ``key`` that was made before among the same ``names``, if any was."""
        whole = _whole(key, names)
        if whole not in self.made and self._kept.get(whole) in names:
            self.made[whole] = self._kept[whole]
        return self.made.get(whole)

    @cached_property
    def _path(self) -> Path:
        return cache_folder() / f"choices-{machine_key()}.json"

    @cached_property
    def _kept(self) -> dict[str, str]:
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}

    def save(self) -> None:
        """Write the choices for the next process; a cache that cannot be written is done without."""
        if self._unsaved:
            self._unsaved = False
            with_others = Choices()._kept | self.made
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                write_json(self._path, with_others)
            except (OSError, VocsegError):
                pass


def race(runs: Mapping[str, Callable[[], object]], rounds: int, limit: float = math.inf, pause: float = 0.0) -> dict[str, float]:
    """The least seconds of each of ``runs``, in turn so that all suffer alike from other work on the machine.

    Each first runs once untimed. Ends after the round in which ``limit`` seconds are over; ``pause`` seconds before each run
    let the threads of the one before come to rest.
    """
    for run in runs.values():
        run()
    best = dict.fromkeys(runs, math.inf)
    began = time.perf_counter()
    for _ in range(rounds):
        for name, run in runs.items():
            time.sleep(pause)
            best[name] = min(best[name], timed(run))
        if time.perf_counter() - began > limit:
            break
    return best


def timed(run: Callable[[], object]) -> float:
    """Seconds that a run takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _whole(key: str, names: Sequence[str]) -> str:
    return f"{key}, {torch.get_num_threads()} threads: {' or '.join(names)}"


def machine_key() -> str:
    """Processor and torch version as part of a file name: what measurements hold for."""
    words = f"{processor()} torch {torch.__version__}"
    return "-".join("".join(letter if letter.isalnum() or letter in ".+" else " " for letter in words).lower().split())


choices = Choices()
