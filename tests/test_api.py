"""The public API from outside: lazy, documented, typed, and without side effects on the process."""

from __future__ import annotations

import doctest
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import vocseg
from vocseg.data.samples import FOLDER

ROOT = Path(__file__).parents[1]
SOURCE = Path(vocseg.__file__).parents[1]
FUNCTIONS_AND_CLASSES = [
    name for name in vocseg.__all__ if name == "VocsegError" or not name.endswith(("Error", "Stopped", "transforms"))
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


def test_the_package_can_be_sent_to_other_processes() -> None:
    """As cloudpickle does with a function that uses it."""
    assert pickle.loads(pickle.dumps(vocseg)) is vocseg


def test_unknown_names_are_attribute_errors() -> None:
    assert not hasattr(vocseg, "segmenter")
    with pytest.raises(ImportError):
        exec("from vocseg import nothing")


@pytest.mark.parametrize("name", FUNCTIONS_AND_CLASSES)
def test_names_have_an_example(name: str) -> None:
    text = getattr(vocseg, name).__doc__
    assert doctest.DocTestParser().get_examples(text or ""), f"vocseg.{name} has no doctest"


def test_results_are_shown_in_a_line(synth: Path, tmp_path: Path) -> None:
    run = vocseg.train(synth, "two_layer_net", out=tmp_path / "run", iterations=1, crop=16, batch_size=2, workers=0)
    scores = vocseg.evaluate(run.model, synth)
    image = next((synth / "JPEGImages").iterdir())
    segment = vocseg.Segmenter(run.model)
    shown = {
        "TrainResult": run, "Evaluation": scores, "Scores": scores.scores, "Diagnosis": vocseg.examine(synth),
        "Segmenter": segment, "ModelInfo": segment.info, "Segmentation": segment(image),
        "Predictions": vocseg.predict(image, tmp_path / "out", model=segment),
        "ConvertReport": vocseg.convert(synth, tmp_path / "coco", to="coco"), "VOCDataset": vocseg.VOCDataset(synth),
    }  # fmt: skip
    for name, value in shown.items():
        assert repr(value).startswith(f"{name}("), name
        assert len(repr(value)) < 120 + len(str(tmp_path)), name


PROGRAM = """
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2

import vocseg

segment = vocseg.Segmenter("vocseg-s", device="cpu")
for source in ("photo.jpg", Path("photo.jpg"), Image.new("RGB", (8, 8)), np.zeros((8, 8, 3), np.uint8)):
    result: vocseg.Segmentation = segment(source)
    mask: torch.Tensor = result.mask
    areas: dict[str, float] = result.areas()
several: list[vocseg.Segmentation] = segment(["photo.jpg", Image.new("RGB", (8, 8))])
for result in segment.stream("photos/*.jpg"):
    result.save("out/" + (Path(result.source).stem if result.source else "image") + ".png")
classes: tuple[str, ...] = result.classes

scores: vocseg.Evaluation = vocseg.evaluate(segment, "data", split="val")
miou: float | None = scores.miou
vocseg.score("masks", "data", split="val").save("scores.json")

matrix = vocseg.ConfusionMatrix(("background", "cat"))
matrix.update(mask, mask)
accuracy: float | None = matrix.compute().pixel_accuracy


@vocseg.register_model
def tiny(num_classes: int) -> torch.nn.Module:
    return torch.nn.Conv2d(3, num_classes, 1)


def loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits, masks, ignore_index=255)


class Printer:
    def on_epoch_end(self, state: object, record: dict[str, float]) -> None:
        print(record)


model: vocseg.SegmentationModel = vocseg.create_model("tiny", classes=("background", "cat"))
names: list[str] = vocseg.list_models("*resnet*")
run: vocseg.TrainResult = vocseg.train("data", model, loss=loss, callbacks=[Printer()], transform=v2.Resize((64, 64)), epochs=2)
config = vocseg.TrainConfig(model="tiny", lr=0.01)
best: Path = vocseg.train(config=config).best
report: vocseg.ExportReport = vocseg.export(best, "tiny.onnx")
dataset = vocseg.VOCDataset("data", split="val")

try:
    diagnosis: vocseg.Diagnosis = vocseg.examine("data")
    converted: vocseg.ConvertReport = vocseg.convert("roads", "voc_roads", to="voc")
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
    wrong = 1 + PROGRAM[: PROGRAM.index("print(diagnosis")].count("\n")
    assert f"program.py:{wrong}:" in error


USE = """
import os, signal, sys
numbers = signal.valid_signals() - {signal.SIGCHLD}  # which torch's data loader handles
handlers = {number: signal.getsignal(number) for number in numbers}
environment = dict(os.environ)

import torch, vocseg
for name in vocseg.__all__:
    getattr(vocseg, name)
vocseg.list_models()
segment = vocseg.Segmenter()
segment(torch.zeros(3, 40, 48, dtype=torch.uint8)).areas()
vocseg.train(sys.argv[1], "two_layer_net", out="run", iterations=2, crop=16, batch_size=2, workers=1)
vocseg.evaluate("run/best.safetensors", sys.argv[1])

assert {number: signal.getsignal(number) for number in numbers} == handlers, "signal handlers"
changed = {name for name, _ in set(os.environ.items()) ^ set(environment.items())}
assert changed <= {"TORCHINDUCTOR_CACHE_DIR"}, changed  # which torch sets when its compiler is imported
"""


def test_the_library_leaves_the_process_alone(synth: Path, tmp_path: Path) -> None:
    """No signal handlers, no environment variables, no output."""
    command = [sys.executable, "-c", USE, str(synth)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


WRONG = {
    "device": lambda: vocseg.Segmenter(device="cuda:99"),
    "precision": lambda: vocseg.Segmenter(precision=32),
    "engine": lambda: vocseg.Segmenter(engine="tensorrt"),
    "max_short_side": lambda: vocseg.Segmenter(max_short_side="640"),
    "model must be a string or a path, not Identity": lambda: vocseg.create_model(torch.nn.Identity()),
    "classes must be a list, each a string, not 'cat'": lambda: vocseg.create_model("two_layer_net", "cat"),
    "classes must be a list, each a string, not 5": lambda: vocseg.create_model("two_layer_net", 5),
    "classes is ()": lambda: vocseg.create_model("two_layer_net", []),
    "classes is ('a', 'a')": lambda: vocseg.create_model("two_layer_net", ["a", "a"]),
    "unknown weights ''": lambda: vocseg.create_model("two_layer_net", weights=""),
    "mean is 0.5": lambda: vocseg.register_model(lambda classes: torch.nn.Identity(), name="gray", mean=0.5),
    "to must be 'onnx' or 'openvino', not 'tflite'": lambda: vocseg.export("vocseg-s", to="tflite"),
    "size must be 2 values, each an integer, not 64": lambda: vocseg.export("vocseg-s", size=64),
    "size is (0, 5)": lambda: vocseg.export("vocseg-s", size=(0, 5)),
    "int8 requires": lambda: vocseg.export("vocseg-s", int8=True),
    "lr must be a number": lambda: vocseg.train("data", "two_layer_net", lr="fast"),
    "epochs must be a number": lambda: vocseg.TrainConfig(epochs="3"),
    "did you mean 'epochs'": lambda: vocseg.train("data", "two_layer_net", epoch=3),
    "has no pretrained": lambda: vocseg.evaluate("two_layer_net", FOLDER, "samples"),
}


@pytest.mark.parametrize("message", WRONG)
def test_settings_of_a_wrong_kind_are_one_line_without_flags(message: str) -> None:
    with pytest.raises(vocseg.InputError) as caught:
        WRONG[message]()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "--" not in str(caught.value)


def test_devices_and_dtypes_of_torch() -> None:
    segment = vocseg.Segmenter("two_layer_net", device=torch.device("cpu"), precision=torch.float32)
    assert (segment.device, segment.precision) == (torch.device("cpu"), "float32")
    matrix = vocseg.ConfusionMatrix(2, device=torch.device("cpu"))
    matrix.update([[0, 1]], [[0, 255]])
    assert int(matrix.counts.sum()) == 1


def test_a_network_of_ones_own_is_trained_saved_and_opened_again(synth: Path, tmp_path: Path) -> None:
    class Own(torch.nn.Conv2d):
        pass

    settings: dict[str, Any] = {"iterations": 2, "crop": 16, "batch_size": 2, "workers": 0, "device": torch.device("cpu")}
    with pytest.raises(vocseg.ModelError, match="Own predicts 3 classes, but has 6 class names"):
        vocseg.train(str(synth), Own(3, 3, 1), out=str(tmp_path / "wrong"), **settings)
    run = vocseg.train(str(synth), Own(3, 6, 1), out=str(tmp_path / "run"), **settings)
    with pytest.raises(
        vocseg.ModelError, match=r"is a model 'Own', which is not registered; .*register_model\(\.\.\., name='Own'\)"
    ):
        vocseg.Segmenter(run.best)
    vocseg.register_model(lambda classes: Own(3, classes, 1), name="Own")
    image = torch.randint(0, 256, (3, 20, 24), dtype=torch.uint8)
    opened, trained = (vocseg.Segmenter(model, device="cpu", exact=True) for model in (run.best, run.model))
    assert torch.equal(opened(image).mask, trained(image).mask)
    assert vocseg.evaluate(run.best, synth, device="cpu").miou is not None


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        (lambda classes: None, "was registered with a function that returns NoneType, not a network"),
        (lambda classes: 1 / 0, "cannot be built for 21 classes: ZeroDivisionError: division by zero"),
        (lambda classes: torch.nn.Conv2d(3, 7, 1), "predicts 7 classes, but has 21 class names"),
    ],
)
def test_builders_that_build_no_network(builder: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from vocseg.models.registry import REGISTERED

    monkeypatch.setattr(REGISTERED, "entries", {})
    vocseg.register_model(builder, name="wrong")
    with pytest.raises(vocseg.ModelError, match=f"wrong {message}"):
        vocseg.Segmenter("wrong", device="cpu")


def test_an_image_of_any_kind_gives_the_same_mask() -> None:
    segment, file = vocseg.Segmenter(device="cpu"), FOLDER / "JPEGImages" / "chelsea.jpg"
    opened = Image.open(file)
    pixels = np.asarray(opened)
    expected = segment(file).mask
    alpha = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    same = [str(file), file.read_bytes(), io.BytesIO(file.read_bytes()), opened, pixels, alpha, pixels[..., ::-1][..., ::-1]]
    same += [
        pixels / 255,
        torch.from_numpy(pixels.copy()).permute(2, 0, 1),
        torch.from_numpy(pixels / 255).permute(2, 0, 1).float(),
    ]
    assert all(torch.equal(result.mask, expected) for result in segment(same))
    assert segment(pixels[..., 0]).mask.shape == expected.shape
    for wrong in (None, 5, np.zeros((4, 4, 7), np.uint8), np.zeros((2, 4, 4, 3), np.uint8), b"no image"):
        with pytest.raises(vocseg.DataError):
            segment(wrong)


def test_a_loss_of_logits(synth: Path, tmp_path: Path) -> None:
    def loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(logits, masks, ignore_index=255)

    run = vocseg.train(
        str(synth), "two_layer_net", loss=loss, out=str(tmp_path / "run"), iterations=2, crop=16, batch_size=2, workers=0
    )
    assert run.history[0]["iteration"] == 2
