from __future__ import annotations

import importlib.util
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vocseg.bench import harness, training_step
from vocseg.bench import prediction as bench
from vocseg.bench.harness import Case
from vocseg.bench.prediction import Task
from vocseg.errors import ModelError
from vocseg.inference.engines import has_openvino

SMALL = Task("lraspp_mobilenet_v3_large", "none", (64, 48), "cpu")


def test_ours_takes_part_in_the_precisions_of_the_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_openvino():
        pytest.skip("openvino is not installed")
    monkeypatch.setattr(harness, "find_precision", lambda name, _: torch.float32 if name == "float32" else torch.bfloat16)

    def names(*peers: str, precision: str = "auto") -> list[str]:
        return [case.name for case in bench.cases(SMALL, peers, precision)]

    assert names() == ["vocseg bfloat16"]
    assert names("torchvision") == ["vocseg bfloat16", "vocseg float32", "torchvision float32"]
    assert names("openvino", "openvino", precision="float32") == ["vocseg float32", "openvino float32", "openvino bfloat16"]


@pytest.mark.parametrize("find", [bench.cases, training_step.cases])
def test_float16_of_a_gpu(find: Callable[..., list[Case]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "find_precision", lambda name, _: torch.float16)
    task = SMALL if find is bench.cases else training_step.Task("two_layer_net", None, 2, 24, "cpu")
    assert [case.name for case in find(task, ["torchvision"], "float16")] == ["vocseg float16", "torchvision float32"]


@pytest.mark.parametrize("peer", ["openvino", "onnxruntime", "compile"])
def test_cases_agree(peer: str) -> None:
    task = SMALL
    if peer == "compile":
        task = SMALL._replace(model="two_layer_net", weights=None)  # a compilation of more takes a minute
        if not shutil.which("g++") and not shutil.which("clang++"):
            pytest.skip("no C++ compiler")
    else:
        for package in (peer, "onnxscript"):
            if importlib.util.find_spec(package) is None:
                pytest.skip(f"{package} is not installed")
    field = bench.cases(task, ["torchvision", peer], "float32", "torch")
    masks = {case.name: case.make()() for case in field if case.precision == "float32"}
    assert list(masks) == ["vocseg float32", "torchvision float32", f"{peer} float32"]
    for mask in masks.values():
        assert mask.shape == SMALL.size
        assert mask.dtype == torch.uint8
        assert (mask == masks["torchvision float32"]).float().mean() > 0.999


def test_the_image_enters_at_its_own_size() -> None:
    assert SMALL.build() is SMALL.build()
    assert SMALL.build().info.short_side is None
    assert SMALL.image().shape == (3, 64, 48)
    assert torch.equal(SMALL.image(), SMALL.image())


def test_cases_can_be_sent_to_another_process() -> None:
    [ours] = bench.cases(SMALL._replace(model="two_layer_net", weights=None), [], "float32", "torch")
    assert pickle.loads(pickle.dumps(ours)).make()().shape == SMALL.size


@pytest.mark.parametrize(
    ("peer", "message"),
    [
        ("caffe", "unknown peer 'caffe': there are torchvision, openvino, onnxruntime, compile, tflite:FILE.tflite"),
        ("openvin", "unknown peer 'openvin'; did you mean 'openvino'?"),
        ("tflite", "unknown peer 'tflite'"),
        ("openvino:x", "unknown peer 'openvino:x'"),
    ],
)
def test_unknown_peers(peer: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        bench.cases(SMALL, [peer])
    assert message in str(caught.value)


def test_peers_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match="ai-edge-litert is not installed; pip install ai-edge-litert"):
        bench.cases(SMALL, ["tflite:a.tflite"])


def test_a_file_that_is_no_tflite_network(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    (tmp_path / "a.tflite").write_bytes(b"nothing")
    for path in (tmp_path / "a.tflite", tmp_path / "none.tflite"):
        with pytest.raises(ModelError, match=f"cannot read TensorFlow Lite network {path}"):
            bench.cases(SMALL, [f"tflite:{path}"])


def test_large_images_are_not_shrunk_as_the_peers_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = bench.Segmenter.low_res_logits

    def spy(self: bench.Segmenter, images: torch.Tensor, total: int) -> object:
        seen.append(self.network_size(images.shape[2], images.shape[3]))
        return real(self, images, total)

    monkeypatch.setattr(bench.Segmenter, "low_res_logits", spy)
    [ours] = bench.cases(Task("two_layer_net", None, (700, 800), "cpu"), [], "float32", "torch")
    ours.make()()
    assert seen == [(700, 800)]
