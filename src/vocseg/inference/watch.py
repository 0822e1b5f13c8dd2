"""Images that arrive in a folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from vocseg.errors import DataError, InputError, TooManyPixels
from vocseg.inference.folders import Skipped, image_files, is_prediction, is_video
from vocseg.inference.sources import Item

log = logging.getLogger("vocseg.predict")

POLL_SECONDS = 1.0

Stamp = tuple[int, int]
"""Size in bytes, and time of the last change."""


class NamedErrors(Skipped):
    """Why images were skipped; each is logged at once, except what may be segmented in tiles."""

    def __setitem__(self, image: Any, error: DataError) -> None:
        if str(self.get(image)) != str(error) and not isinstance(error, TooManyPixels):
            log.info("skipped: %s", error)
        super().__setitem__(image, error)


def watched_folder(sources: Sequence[Any]) -> Path:
    """Return the folder that is watched; raise InputError if there is another number of them."""
    if len(sources) != 1 or not isinstance(sources[0], str | Path) or not Path(sources[0]).is_dir():
        raise InputError(f"one folder can be watched, not {', '.join(str(source) for source in sources) or 'nothing'}")
    return Path(sources[0])


def arrivals(
    folder: Path, out: Path, skipped: Skipped, pause: float = POLL_SECONDS, sleep: Callable[[float], None] = time.sleep
) -> Iterator[list[Item]]:
    """Yield the images below a folder, sorted, as they arrive, without an end; first those that are there.

    A file is taken when two looks, ``pause`` seconds apart, find the same size and time of change, so that it is
    complete; one that is changed later is taken again. Masks and overlays of vocseg, and what is in ``out``, are no images.
    """
    before: dict[Path, Stamp] = {}
    taken: dict[Path, Stamp] = {}
    names: dict[Path, Path] = {}
    while True:
        now: dict[Path, Stamp] = {}
        for file in image_files(folder, out, skipped):
            with suppress(OSError):  # it was moved away
                found = file.stat()
                now[file] = (found.st_size, found.st_mtime_ns)
        ready = [file for file, stamp in sorted(now.items()) if stamp[0] and before.get(file) == stamp != taken.get(file)]
        taken |= {file: now[file] for file in ready}
        stems = [file.with_suffix("") for file in now]
        items = []
        for file in (file for file in ready if not is_prediction(file)):
            relative = file.relative_to(folder)
            name = relative.with_suffix("") if stems.count(file.with_suffix("")) == 1 else relative
            name = name if names.get(name, file) == file else relative  # another image has it since
            names[name] = file
            items.append(Item(file, relative, output=name, is_video=is_video(file)))
        if items:
            yield items
        before = now
        sleep(pause)
