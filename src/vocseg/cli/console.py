"""Log lines on the terminal, for verbs that run long."""

from __future__ import annotations

import logging
import sys


class AroundBars(logging.Handler):
    """Prints log lines above the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stdout)


def log_to_terminal() -> None:
    """Print the log lines of vocseg on standard output."""
    logger = logging.getLogger("vocseg")
    if not any(isinstance(handler, AroundBars) for handler in logger.handlers):
        logger.addHandler(AroundBars())
    logger.setLevel(logging.INFO)
