"""Import OpenVINO, NNCF and ONNX Runtime with their usage reports switched off.

By default each reports its use to its maker, under an identifier kept in the home folder, as soon as it is imported.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

OPT_IN = "VOCSEG_TELEMETRY"
"""Environment variable that, set to 1, leaves the usage reports on."""

ONNXRUNTIME_OFF = "ORT_DISABLE_TELEMETRY"

_LOCK = threading.RLock()


def import_openvino() -> Any:
    """Import OpenVINO without its usage reports."""
    return _import("openvino")


def import_nncf() -> Any:
    """Import NNCF without its usage reports."""
    return _import("nncf")


def import_onnxruntime() -> Any:
    """Import ONNX Runtime without its usage reports."""
    package = _import("onnxruntime")
    if not _opted_in():
        package.disable_telemetry_events()  # for a program that imported it before vocseg
    return package


@contextlib.contextmanager
def unreported() -> Iterator[None]:
    """Send no report of OpenVINO and NNCF inside the block, even if the program imported them before vocseg."""
    module: Any = sys.modules.get("openvino_telemetry.utils.sender")
    if module is None or _opted_in():
        yield
        return
    with _LOCK:
        sender = module.TelemetrySender
        send, sender.send = sender.send, lambda *message: None
        try:
            yield
        finally:
            sender.send = send


def _opted_in() -> bool:
    return os.environ.get(OPT_IN) == "1"


def _import(package: str) -> Any:
    with _LOCK:
        if package in sys.modules or _opted_in():
            return importlib.import_module(package)
        # OpenVINO and NNCF report through this package and work without it. The entry stays, since some of their
        # modules are imported later.
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
        with _onnxruntime_off():
            return importlib.import_module(package)


@contextlib.contextmanager
def _onnxruntime_off() -> Iterator[None]:
    """Set ONNX Runtime's switch in the environment, the only place where it looks, and only while it is imported."""
    if ONNXRUNTIME_OFF in os.environ:
        yield
        return
    os.environ[ONNXRUNTIME_OFF] = "1"
    try:
        yield
    finally:
        os.environ.pop(ONNXRUNTIME_OFF, None)
