"""The public API from outside: lazy, documented, typed, and without side effects on the process."""

from __future__ import annotations

import doctest
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import vocseg

ROOT = Path(__file__).parents[1]
SOURCE = Path(vocseg.__file__).parents[1]
FUNCTIONS_AND_CLASSES = [
    name for name in vocseg.__all__ if name == "VocsegError" or (not name.endswith("Error") and name != "transforms")
]


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ | environment)


def test_the_package_imports_without_torch() -> None:
    done = python("import sys, vocseg; print('torch' in sys.modules, 'numpy' in sys.modules); vocseg.VocsegError")
    assert (done.stdout, done.stderr) == ("False False\n", "")


@pytest.mark.parametrize("name", vocseg.__all__)
def test_names_resolve(name: str) -> None:
    assert name in dir(vocseg)
    value = getattr(vocseg, name)
    assert isinstance(value, ModuleType) or value.__name__ == name


def test_functions_keep_their_names_when_a_room_of_that_name_is_imported() -> None:
    """`export` is a function of the API and the folder that it is defined in."""
    done = python("import vocseg.export.onnx, vocseg; from vocseg.export import onnx; print(vocseg.export.__name__, onnx.__name__)")
    assert done.stdout == "export vocseg.export.onnx\n", done.stderr


def test_unknown_names_are_attribute_errors() -> None:
    assert not hasattr(vocseg, "segmenter")
    with pytest.raises(ImportError):
        exec("from vocseg import nothing")


@pytest.mark.parametrize("name", FUNCTIONS_AND_CLASSES)
def test_names_have_an_example(name: str) -> None:
    text = getattr(vocseg, name).__doc__
    assert doctest.DocTestParser().get_examples(text or ""), f"vocseg.{name} has no doctest"


PROGRAM = """
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import vocseg

segment = vocseg.Segmenter("vocseg-s", device="cpu")
for source in ("photo.jpg", Path("photo.jpg"), Image.new("RGB", (8, 8)), np.zeros((8, 8, 3), np.uint8)):
    result: vocseg.Segmentation = segment(source)
    mask: torch.Tensor = result.mask
    areas: dict[str, float] = result.areas()

several: list[vocseg.Segmentation] = segment(["photo.jpg", Image.new("RGB", (8, 8))])
scores: vocseg.Evaluation = vocseg.evaluate(segment, "data", split="val")
miou: float | None = scores.miou
matrix = vocseg.ConfusionMatrix(("background", "cat"))
matrix.update(mask, mask)


@vocseg.register_model
def tiny(num_classes: int) -> torch.nn.Module:
    return torch.nn.Conv2d(3, num_classes, 1)


model: vocseg.SegmentationModel = vocseg.create_model("tiny", classes=("background", "cat"))
names: list[str] = vocseg.list_models("*resnet*")

try:
    diagnosis = vocseg.examine("data")
except vocseg.DataError as error:
    raise SystemExit(str(error)) from error
print(diagnosis.pairs + names)  # wrong: mypy sees the real types
"""


@pytest.mark.slow
def test_a_users_program_type_checks(tmp_path: Path) -> None:
    assert (Path(vocseg.__file__).parent / "py.typed").is_file()
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml", "--strict", "--no-error-summary", program],
        cwd=ROOT,  # with the cache of `make lint`
        env=os.environ | {"MYPYPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    [error] = done.stdout.splitlines()
    assert 'Unsupported operand types for + ("int" and "list[str]")' in error, done.stderr
    assert f":{1 + PROGRAM[: PROGRAM.index('print(')].count(chr(10))}:" in error


USE = """
import os, signal
handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
environment = dict(os.environ)

import torch, vocseg
for name in vocseg.__all__:
    getattr(vocseg, name)
vocseg.list_models()
segment = vocseg.Segmenter()
segment(torch.zeros(3, 40, 48, dtype=torch.uint8)).areas()

assert {number: signal.getsignal(number) for number in signal.valid_signals()} == handlers, "signal handlers"
changed = {name for name, _ in set(os.environ.items()) ^ set(environment.items())}
assert changed <= {"TORCHINDUCTOR_CACHE_DIR"}, changed  # which torch sets when its compiler is imported
"""


def test_the_library_leaves_the_process_alone() -> None:
    """No signal handlers, no environment variables, no output."""
    done = python(USE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
