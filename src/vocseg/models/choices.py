"""Which way of computing was measured to be the fastest, remembered on disk for the machine at hand."""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import torch

from vocseg.devices import processor
from vocseg.errors import VocsegError
from vocseg.files import write_json


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

    def find(self, key: str, names: Sequence[str], cost: Callable[[str], float]) -> str:
        """The choice for ``key`` among ``names``: the known one, or that of least ``cost``."""
        known = self.known(key)
        key = _threaded(key)
        if known not in names:
            known = min(names, key=cost)
            if not self._unsaved:
                atexit.register(self.save)
            self._unsaved = True
        self.made[key] = known
        return known

    def known(self, key: str) -> str:
        """The choice for ``key`` that was made before, or an empty text."""
        key = _threaded(key)
        return self.made.get(key) or self._kept.get(key) or ""

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


def _threaded(key: str) -> str:
    return f"{key} {torch.get_num_threads()} threads"


def machine_key() -> str:
    """Processor and torch version as part of a file name: what measurements hold for."""
    words = f"{processor()} torch {torch.__version__}"
    return "-".join("".join(letter if letter.isalnum() or letter in ".+" else " " for letter in words).lower().split())


choices = Choices()
