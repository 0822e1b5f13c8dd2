"""The log on the terminal, for verbs that do long work."""

from __future__ import annotations

import logging
import sys


class _AroundBars(logging.Handler):
    """Log lines that do not tear a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stdout)


def log_to_terminal() -> None:
    """Print the package's log lines on standard output."""
    logger = logging.getLogger("vocseg")
    if not any(isinstance(handler, _AroundBars) for handler in logger.handlers):
        logger.addHandler(_AroundBars())
    logger.setLevel(logging.INFO)
