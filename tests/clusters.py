"""A cluster of this process: blocks of images, pickled as for another process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import cloudpickle

from vocseg.ray import CLASSES
from vocseg.utils.cluster import Cluster, Work
from vocseg.utils.plain import dumps, loads


class Here(Cluster):
    """``stop_after``: blocks after which Ctrl-C ends a call; ``worked``: how many images each call works on."""

    def __init__(self, block: int = 3, stop_after: int | None = None) -> None:
        self.block, self.stop_after, self.worked = block, stop_after, list[int]()
        self.about: str | None = None
        self.kept: dict[str, str] = {}

    def map(self, work: Work, images: Mapping[str, Any], state: Path | None, title: str | None) -> dict[str, Any]:
        if work.about != self.about or not all(map(work.is_kept, self._loaded().values())):
            self.kept = {}
        self.about = work.about
        left = [name for name in images if name not in self.kept]
        self.worked.append(0)
        worker = cloudpickle.loads(cloudpickle.dumps(work)).start()
        for number, first in enumerate(range(0, len(left), self.block)):
            if number == self.stop_after:
                raise KeyboardInterrupt
            names = left[first : first + self.block]
            results = worker(cloudpickle.loads(cloudpickle.dumps([images[name] for name in names])))
            self.kept |= {name: dumps(result, CLASSES) for name, result in zip(names, results, strict=True)}
            self.worked[-1] += len(names)
        return self._loaded()

    def finished(self, state: Path) -> dict[str, Any]:
        return self._loaded()

    def forget(self, state: Path) -> None:
        pass

    def _loaded(self) -> dict[str, Any]:
        return {name: loads(value, CLASSES) for name, value in reversed(self.kept.items())}  # in another order
