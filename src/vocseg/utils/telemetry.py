"""Import OpenVINO, NNCF and ONNX Runtime, and start Ray, with their usage reports switched off.

By default each reports its use to its maker, under an identifier kept in the home folder, as soon as it is imported or,
Ray, started.
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
_LOCK = threading.RLock()


def import_openvino() -> Any:
    return _import("openvino")


def import_nncf() -> Any:
    return _import("nncf")


def import_onnxruntime() -> Any:
    package = _import("onnxruntime")
    if not _opted_in():
        package.disable_telemetry_events()  # for a program that imported it before vocseg
    return package


@contextlib.contextmanager
def quiet_ray() -> Iterator[None]:
    """Let Ray be started and used inside the block: it and its processes report nothing, and log failures only.

    Ray Data asks for the switch each time that it runs, and otherwise also keeps two processes and a thread busy with counts.
    """
    wanted = {"RAY_BACKEND_LOG_LEVEL": "fatal"} | ({} if _opted_in() else {"RAY_USAGE_STATS_ENABLED": "0"})
    with _LOCK:
        before = {name: os.environ.get(name) for name in wanted}
        os.environ |= wanted
    try:
        yield
    finally:
        with _LOCK:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


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
        # ONNX Runtime looks for its switch only here, and only while it is imported.
        before = os.environ.setdefault("ORT_DISABLE_TELEMETRY", "")
        os.environ["ORT_DISABLE_TELEMETRY"] = before or "1"
        try:
            return importlib.import_module(package)
        finally:
            if not before:
                del os.environ["ORT_DISABLE_TELEMETRY"]
