from __future__ import annotations

from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vocseg.models import create_model, save_model
from vocseg.models.quantize import pack, unpack


@given(st.integers(1, 5), st.integers(1, 4), st.sampled_from([1e-12, 1e-3, 1.0, 1e6]), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_a_weight_moves_by_at_most_half_a_step_of_its_channel(outputs: int, inputs: int, size: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    kernel = size * torch.randn(outputs, inputs, 3, 3, generator=generator)
    back = unpack(pack({"conv.weight": kernel}, small=0))["conv.weight"]
    step = kernel.abs().amax((1, 2, 3), keepdim=True) / 127
    assert ((back - kernel).abs() <= step * 0.5001).all()
    assert back.dtype == torch.float32


def test_vectors_whole_numbers_and_zeros_stay() -> None:
    state = {"bias": torch.randn(7), "count": torch.tensor(3), "table": torch.arange(6).view(2, 3), "nothing": torch.zeros(2, 4)}
    back = unpack(pack(state))
    assert set(back) == set(state)
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_small_layers_are_halved_and_no_more() -> None:
    state = {"small": torch.randn(10, 20), "large": torch.randn(400, 300), "beyond": torch.full((2, 2), 1e6)}
    packed = pack(state)
    assert [packed[name].dtype for name in state] == [torch.float16, torch.int8, torch.int8]
    back = unpack(packed)
    assert all(value.dtype == torch.float32 for value in back.values())
    torch.testing.assert_close(back["small"], state["small"], rtol=2**-11, atol=1e-7)


def test_what_was_not_packed_is_left_alone() -> None:
    state = {"a": torch.ones(2, 2, dtype=torch.int8), "b": torch.ones(2, 2), "b.scale": torch.ones(2), "layer.scale": torch.ones(3)}
    back = unpack(state)
    assert set(back) == set(state)
    assert all(torch.equal(back[name], state[name]) and back[name].dtype == state[name].dtype for name in state)


def test_model_files_of_little_more_than_a_quarter_of_the_size(tmp_path: Path) -> None:
    model = create_model("lraspp_mobilenet_v3_large", ["a", "b"], "none").eval()
    for compact in (False, True):
        save_model(tmp_path / f"{compact}.safetensors", model, compact=compact)
    plain, small = ((tmp_path / f"{compact}.safetensors").stat().st_size for compact in (False, True))
    assert small < 0.4 * plain
    again = create_model(str(tmp_path / "True.safetensors")).eval()
    assert again.info.classes == ("a", "b")
    image = torch.randint(0, 256, (1, 3, 64, 64)).to(torch.uint8)
    with torch.inference_mode():
        one, two = model(image)["out"], again(image)["out"]
    assert (one - two).abs().max() < 0.1 * one.abs().max()
    assert not torch.equal(one, two)
