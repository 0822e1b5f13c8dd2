"""The call and the verb: a file is written only if it gives the model's masks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import vocseg
from vocseg.errors import ExportError, ModelError, OutputError, SettingError
from vocseg.export import export as export_module
from vocseg.export.onnx import Masker
from vocseg.models import ModelInfo, SegmentationModel, save_model

Run = Callable[..., tuple[int, str, str]]


def test_a_model_is_exported_to_its_name_in_the_current_folder(
    model: SegmentationModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    report = vocseg.export(model)
    assert report.file == Path("lraspp_mobilenet_v3_large.onnx")
    assert report.bytes == report.file.stat().st_size
    assert report.model == "lraspp_mobilenet_v3_large"
    assert report.parity.images == 4
    assert report.parity.miou is None


def test_a_wrong_file_is_not_written(model: SegmentationModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(path: Path) -> tuple[Masker, ModelInfo]:
        def masker(batch: Tensor) -> Tensor:
            return torch.zeros(len(batch), *batch.shape[2:], dtype=torch.uint8)

        return masker, model.info

    path = tmp_path / "network.onnx"
    path.write_text("the file of before")
    monkeypatch.setattr(export_module, "read_onnx", wrong)
    with pytest.raises(ExportError, match=r"of the pixels; at least 99\.9% are required"):
        vocseg.export(model, path)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["the file of before"]


def test_an_input_is_not_replaced(model: SegmentationModel, tmp_path: Path) -> None:
    weights = tmp_path / "weights.onnx"
    torch.save(model.network.state_dict(), weights)
    with pytest.raises(OutputError, match="would replace the input"):
        vocseg.export("lraspp_mobilenet_v3_large", weights, weights=str(weights))


def test_a_model_of_other_classes_than_the_data_is_refused(synth: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model two_layer_net has 21 classes, .* has 6"):
        vocseg.export("two_layer_net", tmp_path / "net.onnx", weights="none", data=synth)


def test_a_folder_that_cannot_be_written(model: SegmentationModel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        vocseg.export(model, tmp_path / "file" / "network.onnx")


def test_int8_is_refused_for_onnx(model: SegmentationModel, synth: Path) -> None:
    with pytest.raises(SettingError, match="--int8 requires --to openvino"):
        vocseg.export(model, int8=True, data=synth)


def test_the_verb_writes_file_and_numbers(run: Run, model: SegmentationModel, synth: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "model.safetensors", model, model.info)
    path = tmp_path / "new" / "network.onnx"
    code, out, err = run(
        "export", tmp_path / "model.safetensors", "--out", path, "--data", synth, "--json", tmp_path / "numbers.json"
    )
    assert code == 0, err
    assert "of the pixels have the same class" in out
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["bytes"] == path.stat().st_size
    assert numbers["images"] == 4
    assert numbers["miou"] == pytest.approx(numbers["model_miou"], abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--int8", "--data", "SYNTH"], "--int8 requires --to openvino"),
        (["--int8", "--to", "openvino"], "--int8 requires --data"),
        (["--out", "network.pb"], "--out network.pb must end in .onnx for onnx"),
        (["--data", "nowhere"], "nowhere"),
        (["--size", "64"], "64"),
        ([], "simple_conv_net has no pretrained segmentation weights"),
    ],
)
def test_wrong_use_is_one_line(run: Run, synth: Path, arguments: list[str], message: str) -> None:
    code, _, err = run("export", "simple_conv_net", *(str(synth) if word == "SYNTH" else word for word in arguments))
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
