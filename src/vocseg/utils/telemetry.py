"""OpenVINO, NNCF and ONNX Runtime without their reports to Intel, Google and Microsoft, unless the user asks for these.

Each reports its use by default, under an identifier that it keeps in the home folder; importing it is enough.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

TURNED_ON = "VOCSEG_TELEMETRY"
"""The environment variable that, set to 1, leaves the reports to those who make the packages."""

ONNXRUNTIME_OFF = "ORT_DISABLE_TELEMETRY"

_LOCK = threading.RLock()


def import_openvino() -> Any:
    """Import OpenVINO with its reports off."""
    return _imported("openvino")


def import_nncf() -> Any:
    """Import NNCF with its reports off."""
    return _imported("nncf")


def import_onnxruntime() -> Any:
    """Import ONNX Runtime with its reports off."""
    package = _imported("onnxruntime")
    if not _turned_on():
        package.disable_telemetry_events()  # where the program had imported it before
    return package


@contextlib.contextmanager
def unreported() -> Iterator[None]:
    """Send none of OpenVINO's and NNCF's reports within the block, even where the program had imported them before vocseg."""
    module: Any = sys.modules.get("openvino_telemetry.utils.sender")
    if module is None or _turned_on():
        yield
        return
    with _LOCK:
        sender = module.TelemetrySender
        send, sender.send = sender.send, lambda *message: None
        try:
            yield
        finally:
            sender.send = send


def _turned_on() -> bool:
    return os.environ.get(TURNED_ON) == "1"


def _imported(package: str) -> Any:
    with _LOCK:
        if package in sys.modules or _turned_on():
            return importlib.import_module(package)
        # What OpenVINO and NNCF report through; they do without it where it cannot be imported, now and in modules of theirs that
        # they import later.
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        with _without_onnxruntime_reports():
            return importlib.import_module(package)


@contextlib.contextmanager
def _without_onnxruntime_reports() -> Iterator[None]:
    """Let ONNX Runtime find its switch in the environment while it is imported: it reads it only then, and nowhere else."""
    if ONNXRUNTIME_OFF in os.environ:
        yield
        return
    os.environ[ONNXRUNTIME_OFF] = "1"
    try:
        yield
    finally:
        os.environ.pop(ONNXRUNTIME_OFF, None)
