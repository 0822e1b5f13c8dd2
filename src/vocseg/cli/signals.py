"""What SIGINT (Ctrl-C), SIGTERM and SIGHUP (a closed terminal) do to a verb."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from vocseg.utils.system import SIGNALS

REPEAT_SECONDS = 0.5
"""A launcher and its scheduler, or a terminal and its shell, may send a signal twice at once, which counts as one."""


class Interrupted(KeyboardInterrupt):
    """A signal ended the verb."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class StopSignals:
    """Within the block, a first signal is only recorded in ``received``, a second one interrupts, a third one kills.

    With ``at_once`` the first one interrupts. Signals that are ignored, as nohup does with SIGHUP, stay ignored.
    """

    def __init__(self, at_once: bool = False) -> None:
        self.received: signal.Signals | None = None
        self._at_once = at_once
        self._since = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            ignored = (number for number in SIGNALS if signal.getsignal(number) is signal.SIG_IGN)
            self._before = {number: signal.signal(number, self._note) for number in set(SIGNALS).difference(ignored)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        first = self.received is None
        if first:
            self.received, self._since = signal.Signals(number), time.monotonic()
        elif number != signal.SIGINT and time.monotonic() - self._since < REPEAT_SECONDS:
            return
        if not first:
            for kind in self._before:
                signal.signal(kind, signal.SIG_DFL)
        if self._at_once or not first:
            raise Interrupted(number)


def signal_of(error: BaseException | None) -> signal.Signals:
    """Return the signal behind a KeyboardInterrupt, which may have been raised again with a message."""
    while error is not None and not isinstance(error, Interrupted):
        error = error.__context__
    return signal.Signals(error.number if error is not None else signal.SIGINT)
