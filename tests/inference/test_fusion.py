"""Convolutions with the activations after them: the same bits, the same weights, and no other layers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vocseg.inference.fusion import ConvActivation, fuse_activations
from vocseg.inference.segmenter import Segmenter


class Chain(nn.Module):
    """Three convolutions: before ReLU6, before a ReLU that is used twice, and one whose output is used twice."""

    def __init__(self, again: bool = False) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 3)
        self.six, self.twice, self.last = nn.ReLU6(), nn.ReLU(), nn.ReLU()
        self.again = again

    def forward(self, images: Tensor) -> Tensor:
        features = self.twice(self.second(self.six(self.first(images))))
        third = self.third(self.twice(features))
        return self.last(third) + third if self.again else self.last(third)


def _example(batch: int = 1, height: int = 33, width: int = 49) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0)).bfloat16()


def _fused(network: nn.Module) -> list[str]:
    return [name for name, module in network.named_modules() if isinstance(module, ConvActivation)]


needs_bfloat16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported() if torch.backends.mkldnn.is_available() else True,
    reason="no bfloat16 in oneDNN",
)


@needs_bfloat16
def test_pairs_are_joined_and_share_their_weights() -> None:
    network = Chain().bfloat16().eval()
    fused = fuse_activations(network, _example())
    assert _fused(fused) == ["first", "third"]  # ``twice`` has two inputs
    assert {each.data_ptr() for each in fused.parameters()} == {each.data_ptr() for each in network.parameters()}
    with torch.inference_mode():
        for size in ((1, 33, 49), (3, 64, 17)):
            assert torch.equal(fused(_example(*size)), network(_example(*size)))
    assert not _fused(network)


def test_output_that_is_used_twice_keeps_its_layers() -> None:
    network = Chain(again=True).bfloat16().eval()
    assert fuse_activations(network, _example()) is network


def test_without_onednn_layers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    network = Chain().bfloat16().eval()
    assert fuse_activations(network, _example()) is network


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_logits_of_the_network_in_the_package_are_the_same(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.randint(0, 256, (2, 3, 75, 101), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    joined = Segmenter(device="cpu", engine="torch", precision=precision).low_res_logits(images).values
    monkeypatch.setattr("vocseg.inference.optimize.fuse_activations", lambda layers, _: layers)
    plain = Segmenter(device="cpu", engine="torch", precision=precision).low_res_logits(images).values
    torch.testing.assert_close(joined, plain, rtol=1e-5, atol=1e-5)
