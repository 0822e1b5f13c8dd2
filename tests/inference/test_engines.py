"""Every engine gives the plain network's logits, for images of any size; the rule of ``auto``."""

from __future__ import annotations

import importlib.util
import shutil

import pytest
import torch
from torch import nn

from vocseg.errors import ModelError
from vocseg.inference import engines, optimize
from vocseg.inference.engines import MANY, choose_engine, torch_engine
from vocseg.inference.optimize import OptimizedModel
from vocseg.inference.segmenter import Segmenter
from vocseg.models import SegmentationModel, create_model

NEEDED = {"openvino": ["openvino"], "onnxruntime": ["onnx", "onnxscript", "onnxruntime"]}
CPU = torch.device("cpu")


def require(engine: str) -> None:
    for package in NEEDED.get(engine, ()):
        pytest.importorskip(package)
    if engine == "compile" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("no C++ compiler")


def made(name: str) -> SegmentationModel:
    torch.manual_seed(0)
    model = create_model(name, ["a", "b", "c"], "none").eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model


def images(height: int, width: int, count: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


SIZES = [(340, 308, 1), (64, 64, 2), (309, 277, 1), (33, 91, 1)]
CASES = [
    ("torch", "deeplabv3_mobilenet_v3_large", SIZES),
    ("openvino", "deeplabv3_mobilenet_v3_large", SIZES),
    ("openvino", "deeplabv3plus:tu-tf_efficientnet_lite0", SIZES),
    # An export of more takes a quarter of a minute, a compilation a minute.
    ("onnxruntime", "simple_conv_net", SIZES),
    ("compile", "two_layer_net", SIZES[1:]),
]


@pytest.mark.parametrize(("engine", "name", "sizes"), CASES)
def test_same_logits_at_every_size(engine: str, name: str, sizes: list[tuple[int, int, int]]) -> None:
    require(engine)
    model = made(name)
    optimized = OptimizedModel(model, engine=engine)  # type: ignore[arg-type]
    for height, width, count in sizes:
        with torch.inference_mode():
            want = model(images(height, width, count))["out"]
            got = optimized(images(height, width, count)).full()
        assert float((got - want).abs().max()) <= 1e-4 * float(want.abs().max())


@pytest.mark.parametrize("installed", [True, False])
def test_the_rule_of_auto(installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "has_openvino", lambda: installed)
    assert choose_engine("auto", CPU, MANY) == ("openvino" if installed else "torch")
    assert choose_engine("auto", CPU, MANY - 1) == "torch"
    assert choose_engine("auto", torch.device("cuda"), 10 * MANY) == "torch"
    for name in ("torch", "compile", "openvino", "onnxruntime"):
        assert choose_engine(name, CPU, 1) == choose_engine(name, CPU, 10 * MANY) == name


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-3), ("bfloat16", 0.1)])
def test_auto_prepares_openvino_only_for_many_images(precision: str, tolerance: float, monkeypatch: pytest.MonkeyPatch) -> None:
    require("openvino")
    prepared = []
    original = optimize.make_engine
    monkeypatch.setattr(optimize, "make_engine", lambda name, *rest: prepared.append(name) or original(name, *rest))
    segment = Segmenter(made("lraspp_mobilenet_v3_large"), device="cpu", precision=precision)
    few = [segment.low_res_logits(images(64, 64)).full() for _ in range(3)]
    assert prepared == ["torch"]
    many = [segment.low_res_logits(images(64, 64), total=MANY).full() for _ in range(3)]
    assert prepared == ["torch", "openvino"]
    torch.testing.assert_close(many[0], few[0], rtol=tolerance, atol=tolerance * float(few[0].abs().max()))
    assert torch.equal(many[0], many[2])


def test_missing_engines_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made("two_layer_net")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="openvino is not installed; pip install openvino"):
        OptimizedModel(model, engine="openvino")
    with pytest.raises(ModelError, match="onnx is not installed"):
        OptimizedModel(model, engine="onnxruntime")
    monkeypatch.setattr(engines.shutil, "which", lambda name: None)
    with pytest.raises(ModelError, match=r"C\+\+ compiler"):
        OptimizedModel(model, engine="compile")


def test_torch_engine_takes_any_layers() -> None:
    run = torch_engine(nn.Conv2d(3, 2, 3, padding=1), torch.float32)
    with torch.inference_mode():
        assert run(torch.randn(1, 3, 5, 7)).shape == (1, 2, 5, 7)
