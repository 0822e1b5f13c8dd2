"""Work on the images of a run in other processes, perhaps of other machines: what runs it, and what it runs."""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Worker = Callable[[Sequence[Any]], Sequence[Any]]
"""Takes the values of some images, and returns a result for each."""


class Work(ABC):
    """What is done with images; it can be pickled, and their results are plain (:func:`vocseg.utils.plain.dumps`).

    ``about``: a digest of all that results depend on, besides an image itself. ``uses_gpu``: whether a GPU helps.
    """

    about: str
    uses_gpu: bool

    @abstractmethod
    def start(self) -> Worker:
        """Return what works on images in this process, which has been started for it."""

    def is_kept(self, result: Any) -> bool:
        """Tell whether what an interrupted call did for an image is still there."""
        return True


class Cluster(ABC):
    """Processes that share the images of a run."""

    @abstractmethod
    def map(self, work: Work, images: Mapping[str, Any], state: Path | None, title: str | None) -> dict[str, Any]:
        """Return by id what the work makes of the values of ``images``.

        ``state``: a folder on a disk that all processes see, or staged, for what is finished: a call that is interrupted
        is continued by the next with the same ``work.about``, until :meth:`forget`. ``title``: shows a progress bar on a
        terminal.
        """

    @abstractmethod
    def finished(self, state: Path) -> dict[str, Any]:
        """Return by id the results that are in the folder of an interrupted call."""

    @abstractmethod
    def forget(self, state: Path) -> None:
        """Delete the folder of a call."""


def check_listens(address: str, seconds: float = 10) -> None:
    """Raise OSError if nothing listens at ``host:port``; other addresses are not looked at.

    Ray says so after minutes.
    """
    host, _, port = address.rpartition("://")[2].partition("?")[0].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), seconds).close()
