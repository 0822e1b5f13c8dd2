from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from vocseg.errors import ModelError
from vocseg.models import create_model, save_model
from vocseg.models.checkpoint import read_weights_file


def test_files_that_are_no_models(tmp_path: Path) -> None:
    text = tmp_path / "text.safetensors"
    text.write_text("no model")
    with pytest.raises(ModelError, match=r"text\.safetensors is not a model file"):
        create_model(str(text))
    bare = tmp_path / "bare.safetensors"
    save_file({"a": torch.zeros(2)}, bare)
    with pytest.raises(ModelError, match=r"bare\.safetensors holds weights but no vocseg metadata; give the model's name"):
        create_model(str(bare))
    damaged = tmp_path / "damaged.safetensors"
    save_file({"a": torch.zeros(2)}, damaged, metadata={"vocseg": '{"architecture": "two_layer_net"}'})
    with pytest.raises(ModelError, match=r"damaged\.safetensors has damaged vocseg metadata"):
        create_model(str(damaged))
    model = create_model("two_layer_net", ["a", "b"])
    save_model(tmp_path / "m.safetensors", model)
    content = (tmp_path / "m.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[:-100])
    with pytest.raises(ModelError, match=r"cut\.safetensors is not a model file"):
        create_model(str(tmp_path / "cut.safetensors"))


WRONG: list[dict[str, Any]] = [
    {"architecture": 5}, {"architecture": None}, {"architecture": ["net"]}, {"architecture": "a" * 1_000_000},
    {"classes": []}, {"classes": "ab"}, {"classes": ["a", "a"]}, {"classes": [1, 2]}, {"classes": [f"c{i}" for i in range(256)]},
    {"palette": [[1, 2, 3]]}, {"palette": [[999, 0, 0]] * 2}, {"palette": [[-1, 0, 0]] * 2}, {"palette": [[0, 0]] * 2},
    {"mean": [0.1, 0.2]}, {"mean": [float("nan")] * 3}, {"mean": [10**400] * 3}, {"std": [0, 0, 0]}, {"std": [-1, 1, 1]},
    {"short_side": 0}, {"short_side": -5}, {"short_side": 1.5}, {"short_side": "abc"}, {"short_side": 10**6},
    {"short_side": float("inf")}, {"short_side": True}, {"max_short_side": 10**6}, {"scores": [1]},
]  # fmt: skip


@pytest.mark.parametrize("change", WRONG, ids=lambda change: str(change)[:40])
def test_what_a_file_says_of_its_network_is_checked(change: dict[str, Any], tmp_path: Path) -> None:
    model = create_model("two_layer_net", ["a", "b"])
    file = tmp_path / "m.safetensors"
    save_file(dict(model.network.state_dict()), file, {"vocseg": json.dumps(json.loads(model.info.to_json()) | change)})
    [name] = change
    with pytest.raises(ModelError, match=rf"m\.safetensors has damaged vocseg metadata: {name} is ") as caught:
        create_model(str(file))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("text", ["5", "null", "[1]", "{}", "[" * 100_000 + "]" * 100_000, "no JSON"])
def test_metadata_of_another_form(text: str, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "m.safetensors", {"vocseg": text})
    with pytest.raises(ModelError, match=r"m\.safetensors has damaged vocseg metadata: "):
        create_model(str(tmp_path / "m.safetensors"))


@pytest.mark.parametrize("half", [False, True])
def test_a_flipped_bit_is_found(half: bool, tmp_path: Path) -> None:
    save_model(tmp_path / "m.safetensors", create_model("simple_conv_net", ["a", "b"]), half=half)
    content = bytearray((tmp_path / "m.safetensors").read_bytes())
    create_model(str(tmp_path / "m.safetensors"))
    content[-1000] ^= 4
    (tmp_path / "m.safetensors").write_bytes(content)
    for model, weights in ((str(tmp_path / "m.safetensors"), None), ("simple_conv_net", str(tmp_path / "m.safetensors"))):
        with pytest.raises(ModelError, match=r"m\.safetensors is damaged: its checksum is wrong; copy or download it again"):
            create_model(model, weights=weights)


def test_a_flipped_bit_in_a_weights_file_is_found(tmp_path: Path) -> None:
    torch.save(create_model("simple_conv_net").network.state_dict(), tmp_path / "w.pth")
    content = bytearray((tmp_path / "w.pth").read_bytes())
    content[len(content) // 2] ^= 4
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(ModelError, match=r"w\.pth is not a weights file that can be loaded safely: the checksum of .* is wrong"):
        read_weights_file(tmp_path / "w.pth")


def test_a_full_disk_is_a_failure_and_keeps_the_old_file(tmp_path: Path) -> None:
    """What the system refuses to write, as it does on a full disk: a process of its own, whose files stay below 64 KB."""
    file = tmp_path / "m.safetensors"
    save_model(file, create_model("two_layer_net"), half=True)
    before = file.read_bytes()
    code = f"""
import resource, signal
from pathlib import Path
from vocseg.models import create_model, save_model
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
try:
    save_model(Path({str(file)!r}), create_model("two_layer_net"))
except Exception as error:
    print(type(error).__name__, error.exit_code, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == f"OutputError 1 cannot write {file}: File too large\n", done.stderr
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


class Evil:
    def __reduce__(self) -> Any:
        return print, ("executed",)


def test_foreign_pickles_are_not_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {}, "evil": Evil()}, tmp_path / "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Evil()))
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("evil", "plain"):
        with pytest.raises(ModelError, match=rf"{name}\.pth is not a weights file that can be loaded safely"):
            read_weights_file(tmp_path / f"{name}.pth")
    with pytest.raises(ModelError, match=r"list\.pth holds no state dict"):
        read_weights_file(tmp_path / "list.pth")
    assert "executed" not in capsys.readouterr().out


def test_half_files_have_half_the_size_and_eleven_bits(tmp_path: Path) -> None:
    model = create_model("simple_conv_net", ["a", "b"])
    with torch.no_grad():
        kernel = next(value for value in model.network.parameters() if value.dim() == 4)
        kernel[0] = 1e6  # beyond float16: stays as it is
    for half in (False, True):
        save_model(tmp_path / f"{half}.safetensors", model, half=half)
    plain, small = ((tmp_path / f"{half}.safetensors").stat().st_size for half in (False, True))
    assert 0.5 * plain < small < 0.6 * plain
    again = create_model(str(tmp_path / "True.safetensors")).network.state_dict()
    for name, value in model.network.state_dict().items():
        assert again[name].dtype == value.dtype
        torch.testing.assert_close(again[name], value, rtol=2**-11, atol=1e-7)
