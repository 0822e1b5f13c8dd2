"""No usage report is sent unless the user turns them on."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import vocseg

NEEDED = ("openvino", "openvino_telemetry", "nncf", "onnxruntime")
with_packages = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in NEEDED), reason="the extra export is not installed"
)

PROGRAM = """
import sys, time
from pathlib import Path
# The reports go to standard output.
import openvino_telemetry.backend.backend_ga4
openvino_telemetry.backend.backend_ga4.GA4Backend.send = lambda self, message: print("sent", flush=True)
if "before" in sys.argv:
    import openvino, nncf, onnxruntime
    while openvino_telemetry.Telemetry().sender.queue_size:
        time.sleep(0.01)
print("ours", flush=True)

import os
import torch
from vocseg.export.int8 import quantize
from vocseg.export.onnx import write_onnx
from vocseg.export.openvino import write_openvino
from vocseg.inference.engines import openvino_engine
from vocseg.models import create_model
from vocseg.utils.telemetry import import_onnxruntime

model = create_model("two_layer_net", weights="none").eval()
environment = dict(os.environ)
openvino_engine(torch.nn.Conv2d(3, 2, 1).eval(), torch.float32, torch.zeros(1, 3, 8, 8))
write_onnx(model, Path("net.onnx"), (8, 8))
write_openvino(Path("net.onnx"), Path("floating.xml"), model.info)
quantize(Path("floating.xml"), Path("int8.xml"), [torch.zeros(3, 8, 8, dtype=torch.uint8)])
import_onnxruntime()
assert dict(os.environ) == environment
"""


def run(folder: Path, *arguments: str, **environment: str) -> str:
    """Run the program and return its output from the first call to vocseg on."""
    quiet = {"CI", "TF_BUILD", "NNCF_CI", "NNCF_DEV", "ORT_DISABLE_TELEMETRY", "VOCSEG_TELEMETRY", "XDG_CACHE_HOME"}
    kept = {name: value for name, value in os.environ.items() if name not in quiet}
    (folder / "home").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=folder, env=kept | {"HOME": str(folder / "home")} | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split("ours\n")[1]


@pytest.mark.slow
@with_packages
def test_nothing_is_reported_and_no_identifier_is_kept(tmp_path: Path) -> None:
    assert "sent" not in run(tmp_path)
    assert not [file for file in (tmp_path / "home").rglob("*") if re.search(r"intel|microsoft", str(file), re.IGNORECASE)]


@pytest.mark.slow
@with_packages
def test_nothing_is_reported_if_the_program_imported_them_before(tmp_path: Path) -> None:
    assert "sent" not in run(tmp_path, "before")


@pytest.mark.slow
@with_packages
def test_the_user_can_turn_reports_on(tmp_path: Path) -> None:
    assert "sent" in run(tmp_path, VOCSEG_TELEMETRY="1")


def test_no_other_module_imports_the_packages() -> None:
    source = Path(vocseg.__file__).parent
    pattern = re.compile(r"^\s*(import|from) (openvino|nncf|onnxruntime)\b", re.MULTILINE)
    found = [path.name for path in source.rglob("*.py") if pattern.search(path.read_text(encoding="utf-8"))]
    assert found == []
