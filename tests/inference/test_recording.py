"""Recorded networks: the same bits at every size, and no graph of a network whose Python decides something."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vocseg.inference import engines
from vocseg.inference.engines import RecordingEngine
from vocseg.inference.fusion import ConvActivation, fuse_activations
from vocseg.inference.recording import record
from vocseg.inference.segmenter import Segmenter

SIZES = [(64, 80), (80, 64)]


def _images(height: int, width: int, count: int = 1) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(height * width))


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU6(), nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1)).eval()


class Deciding(nn.Module):
    """A network whose Python looks at ``what``."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.conv, self.what = nn.Conv2d(3, 4, 3, padding=1), what

    def forward(self, images: Tensor) -> Tensor:
        out = self.conv(images)
        if self.what == "values" and images.mean() > 0:
            return -out
        if self.what == "height":
            return out + int(images.shape[2])
        if self.what == "orientation":
            return out * 2 if images.shape[2] > images.shape[3] else out
        if self.what == "numpy":
            return out + torch.from_numpy(images.numpy()).mean()
        return F.interpolate(out, size=images.shape[2:], mode="bilinear") if self.what == "size" else out


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 3))
def test_graph_gives_the_same_bits_at_every_size(height: int, width: int, count: int) -> None:
    network = _network()
    graph = record(network, [_images(*size) for size in SIZES])
    assert isinstance(graph, torch.jit.ScriptModule)
    with torch.inference_mode():
        assert torch.equal(graph(_images(height, width, count)), network(_images(height, width, count)))


@pytest.mark.parametrize(("what", "is_recorded"), [
    ("nothing", True), ("size", True), ("values", False), ("height", False), ("orientation", False), ("numpy", False),
])  # fmt: skip
def test_networks_whose_python_decides_keep_it(what: str, is_recorded: bool) -> None:
    network = Deciding(what).eval()
    graph = record(network, [_images(*size) for size in SIZES])
    assert (graph is network) != is_recorded
    with torch.inference_mode():
        for size in (*SIZES, (33, 47)):
            for images in (_images(*size), -_images(*size)):
                assert torch.equal(graph(images), network(images))


def test_convolutions_with_activations_are_recorded() -> None:
    network, example = _network().bfloat16(), _images(64, 80).bfloat16()
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("no bfloat16 in oneDNN")
    fused = fuse_activations(network, example)
    assert sum(isinstance(module, ConvActivation) for module in fused.modules()) == 2
    graph = record(fused, [example, example.transpose(2, 3)])
    assert str(graph.graph).count("mkldnn::_convolution_pointwise") == 2  # type: ignore[attr-defined]
    with torch.inference_mode():
        assert torch.equal(graph(_images(31, 9).bfloat16()), network(_images(31, 9).bfloat16()))


def test_engine_records_after_some_images_in_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = []
    monkeypatch.setattr(engines, "record", lambda *given: recorded.append(1) or record(*given))
    monkeypatch.setattr(engines, "RECORD", 10)
    network = _network()
    run = RecordingEngine(network, torch.float32, _images(*SIZES[0]))
    images = [_images(20 + number, 30).contiguous(memory_format=torch.channels_last) for number in range(40)]

    def segment(image: Tensor) -> Tensor:
        with torch.inference_mode():
            return run(image)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(segment, images))
    assert recorded == [1]
    with torch.inference_mode():
        assert all(torch.equal(one, network(image)) for one, image in zip(found, images, strict=True))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_masks_stay_the_same(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    segment = Segmenter(device="cpu", engine="torch", precision=precision)
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in ((96, 128), (75, 51))]
    eager = [segment.logits(image) for image in images]
    monkeypatch.setattr(engines, "RECORD", 0)
    assert all(torch.equal(segment.logits(image), before) for image, before in zip(images, eager, strict=True))
    run = segment.network._runs["torch"]  # type: ignore[union-attr]
    assert run._is_recorded
