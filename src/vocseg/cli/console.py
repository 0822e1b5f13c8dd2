"""Output of verbs. Names are data: no markup, no control characters, and no encoding that ends a verb."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vocseg.errors import shown
from vocseg.utils.shards import Shard
from vocseg.utils.text import counted, visible
from vocseg.utils.urls import below

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text


def prepare_output() -> None:
    """Write characters that standard output or error cannot encode as escapes, e.g. ``\\u2192``; accept closed ones."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass  # otherwise a file that is opened later would take the place of a closed one, and its output
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def flush_output() -> None:
    """Write what is buffered for standard output; if that fails, discard it, for Python would try again at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def say(*lines: str) -> None:
    """Print lines of plain text on standard output, without passwords in URLs."""
    for line in lines:
        print(visible(shown(line)))


def say_written(*paths: str | Path | None) -> None:
    """Name the files and folders that were written, if any."""
    if named := [str(path) for path in paths if path is not None]:
        say(f"written: {', '.join(named)}")


def say_shard(shard: Shard, out: str | Path, images: int) -> None:
    """Say where the results of a shard are, and how they become a whole."""
    folder = shlex.quote(str(out))
    say(
        f"shard {shard}: {counted(images, 'image')}; written: {below(out, shard.name)}",
        f"when all shards are finished: vocseg merge {folder} --out {folder}",
    )


def terminal() -> Console:
    """Return a console that shows strings and tables as they are."""
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment

    class Terminal(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(visible(text), **options)  # before the width is measured

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else segment._replace(text=visible(segment.text, keep="\n"))

    return Terminal(markup=False, emoji=False, highlight=False)


class AroundBars(logging.Handler):
    """Prints log lines above the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(visible(self.format(record), keep="\n"), file=sys.stdout)


def log_to_terminal() -> None:
    """Print the log lines of vocseg on standard output."""
    logger = logging.getLogger("vocseg")
    if not any(isinstance(handler, AroundBars) for handler in logger.handlers):
        logger.addHandler(AroundBars())
    logger.setLevel(logging.INFO)
