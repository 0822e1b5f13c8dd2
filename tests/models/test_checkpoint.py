from __future__ import annotations

import pickle
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
    with pytest.raises(ModelError, match=r"bare\.safetensors holds weights but no vocseg metadata; use --model NAME --weights"):
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
