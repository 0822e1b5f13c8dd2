from __future__ import annotations

import pytest
import torch

from vocseg.errors import ModelError
from vocseg.inference import bench
from vocseg.models import create_model


def test_contestants_run_in_turn_and_agree() -> None:
    order: list[str] = []
    model = create_model("lraspp_mobilenet_v3_large", ["a", "b"], "none")
    makers = bench.contestants(model, ["torchvision"], (64, 64), "cpu", "float32")
    masks: dict[str, torch.Tensor] = {}

    def watched(name: str, make: object) -> object:
        runner = make()  # type: ignore[operator]

        def segment(picture: torch.Tensor) -> torch.Tensor:
            order.append(name)
            masks[name] = runner(picture)
            return masks[name]

        return segment

    watched_makers = {name: (lambda name=name, make=make: watched(name, make)) for name, make in makers.items()}
    picture = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    results = bench.run(watched_makers, picture, 3)  # type: ignore[arg-type]
    assert order == ["vocseg", "torchvision float32"] * 4
    assert [len(result.seconds) for result in results] == [3, 3]
    assert (masks["vocseg"] == masks["torchvision float32"]).float().mean() > 0.999
    row = results[0].to_dict()
    assert row["p95_ms"] >= row["p50_ms"] > 0


@pytest.mark.parametrize("peer", ["openvino", "onnxruntime"])
def test_peers_that_are_installed_agree(peer: str) -> None:
    pytest.importorskip(peer)
    pytest.importorskip("onnxscript")
    model = create_model("lraspp_mobilenet_v3_large", ["a", "b"], "none")
    picture = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    makers = bench.contestants(model, ["torchvision", peer], (64, 64), "cpu", "float32")
    masks = {name: make()(picture) for name, make in makers.items() if "bf16" not in name}
    assert len(masks) == 3
    for mask in masks.values():
        assert (mask == masks["torchvision float32"]).float().mean() > 0.999


def test_unknown_peer() -> None:
    with pytest.raises(ModelError, match="unknown peer 'caffe': there are torchvision, openvino, onnxruntime"):
        bench.contestants(create_model("two_layer_net"), ["caffe"], (8, 8), "cpu", "auto")
