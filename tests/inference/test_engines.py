"""Every engine gives the plain network's logits, for images of any size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vocseg.errors import ModelError
from vocseg.inference import engines
from vocseg.inference import optimize as fast
from vocseg.inference.engines import has_openvino, torch_engine
from vocseg.inference.optimize import FastModel
from vocseg.inference.segmenter import Segmenter
from vocseg.models import SegmentationModel, create_model
from vocseg.ops.choices import Choices
from vocseg.ops.conv_cpu import Geometry, taps_for_tracing, traced_convolutions

openvino_only = pytest.mark.skipif(not has_openvino(), reason="openvino is not installed")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("VOCSEG_CACHE", str(tmp_path / "cache"))
    made = Choices()
    monkeypatch.setattr(engines, "choices", made)
    monkeypatch.setattr(fast, "choices", made)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def model() -> SegmentationModel:
    torch.manual_seed(0)
    made = create_model("deeplabv3_mobilenet_v3_large", ["a", "b", "c"], "none").eval()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return made


def images(height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(height))


def assert_same(model: SegmentationModel, fast_model: FastModel, height: int, width: int) -> None:
    with torch.inference_mode():
        want = model(images(height, width))["out"]
        got = fast_model(images(height, width)).full()
    assert float((got - want).abs().max()) <= 1e-4 * float(want.abs().max())


@pytest.mark.parametrize("engine", ["torch", pytest.param("openvino", marks=openvino_only)])
@pytest.mark.parametrize("taps", [False, True])
def test_same_logits_at_every_size(model: SegmentationModel, engine: str, taps: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_taps_are_faster", lambda *arguments: taps)
    rewritten = FastModel(model, engine=engine)  # type: ignore[arg-type]
    # The first is what the engine is prepared with; 64 is below what a sum over taps of dilation 36 takes.
    for height, width in ((640, 608), (64, 64), (609, 777), (33, 91)):
        assert_same(model, rewritten, height, width)


@openvino_only
def test_converted_networks_are_found_again(model: SegmentationModel, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = create_model("lraspp_mobilenet_v3_large", ["a", "b"], "none").eval()
    assert_same(network, FastModel(network, engine="openvino", keep=True), 64, 96)
    (kept,) = own_cache.glob("openvino-*/*.xml")

    def fail(*arguments: object) -> None:
        raise AssertionError("converted twice")

    monkeypatch.setattr(engines, "_convert", fail)
    again = FastModel(network, keep=True)  # auto takes what is there at once
    assert_same(network, again, 65, 97)
    with pytest.raises(AssertionError, match="converted twice"):
        assert_same(model, FastModel(model, engine="openvino", keep=True), 64, 64)  # other weights
    assert kept.exists()


@openvino_only
def test_old_conversions_make_room(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "CACHE_BYTES", 1)
    for classes in (2, 3):
        network = create_model("simple_conv_net", [str(number) for number in range(classes)]).eval()
        assert_same(network, FastModel(network, engine="openvino", keep=True), 24, 24)
    assert len(list(own_cache.glob("openvino-*/*.xml"))) == len(list(own_cache.glob("openvino-*/*.bin"))) == 1


@openvino_only
def test_auto_prepares_only_for_many_images(model: SegmentationModel, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = []
    original = fast.openvino_engine
    monkeypatch.setattr(fast, "openvino_engine", lambda *arguments: prepared.append(1) or original(*arguments))
    few = Segmenter(model, device="cpu", precision="float32")
    few.expect(3)
    for _ in range(3):
        few(images(64, 64)[0])
    assert not prepared
    monkeypatch.setattr(fast, "PREPARATION_SECONDS", 0.0)
    many = Segmenter(model, device="cpu", precision="float32")
    many.expect(4)
    masks = [many(images(64, 64)[0]).mask for _ in range(4)]
    assert len(prepared) == 1
    assert all(torch.equal(mask, masks[0]) for mask in masks)


@openvino_only
@pytest.mark.parametrize("quicker", ["torch", "openvino"])
def test_auto_remembers_which_engine_won(model: SegmentationModel, monkeypatch: pytest.MonkeyPatch, quicker: str) -> None:
    monkeypatch.setattr(fast, "PREPARATION_SECONDS", 0.0)
    monkeypatch.setattr(fast, "race", lambda runs, *rest: {name: float(name != quicker) for name in runs})

    def segment() -> None:
        made = FastModel(model, keep=True)
        made.expect(4)
        for _ in range(4):
            assert_same(model, made, 64, 64)

    segment()
    used = []
    for name in ("torch", "openvino"):
        original = getattr(fast, f"{name}_engine")
        monkeypatch.setattr(
            fast, f"{name}_engine", lambda *rest, name=name, original=original: used.append(name) or original(*rest)
        )
    segment()
    assert used == [quicker]


def test_missing_engines_are_named(model: SegmentationModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="openvino is not installed; pip install openvino"):
        FastModel(model, engine="openvino")(images(64, 64))
    with pytest.raises(ModelError, match="onnx is not installed"):
        FastModel(model, engine="onnxruntime")(images(64, 64))
    monkeypatch.setattr(engines.shutil, "which", lambda name: None)
    with pytest.raises(ModelError, match=r"C\+\+ compiler"):
        FastModel(model, engine="compile")(images(64, 64))


@given(st.integers(1, 3), st.integers(8, 20), st.integers(8, 20), st.integers(1, 7), st.booleans())
@settings(max_examples=40, deadline=None)
def test_taps_that_can_be_traced(batch: int, height: int, width: int, dilation: int, bias: bool) -> None:
    conv = nn.Conv2d(4, 5, 3, padding=dilation, dilation=dilation, bias=bias).double()
    inputs = torch.randn(batch, 4, height, width, dtype=torch.float64)
    geometry = Geometry((1, 1), (dilation, dilation), (dilation, dilation), 1)
    with torch.no_grad():
        torch.testing.assert_close(taps_for_tracing(inputs, conv.weight, conv.bias, geometry), conv(inputs), rtol=1e-9, atol=1e-9)
        with traced_convolutions(lambda *arguments: True):
            torch.testing.assert_close(conv(inputs), conv(inputs), rtol=1e-9, atol=1e-9)


def test_torch_engine_takes_any_layers() -> None:
    run = torch_engine(nn.Conv2d(3, 2, 3, padding=1), torch.float32)
    with torch.inference_mode():
        assert run(torch.randn(1, 3, 5, 7)).shape == (1, 2, 5, 7)
