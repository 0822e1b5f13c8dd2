"""The call and the verb: a file is written only if it gives the model's masks."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor

import vocseg
from verbs import fails
from vocseg.errors import ExportError, ModelError, OutputError, SettingError
from vocseg.export import export as export_module
from vocseg.export.onnx import Masker, read_onnx
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
    console = Console(width=80, file=io.StringIO())
    console.print(report.layout())
    assert "lraspp_mobilenet_v3_large and lraspp_mobilenet_v3_large.onnx on 4 images" in console.file.getvalue()


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


def test_an_xml_is_never_beside_the_bin_of_another_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was killed between the two renames left one network's class names beside the other's weights."""
    pytest.importorskip("openvino")
    vocseg.export("two_layer_net", tmp_path / "net.xml", to="openvino", weights="none")
    rename = os.replace

    def killed(source: Path, target: Path) -> None:
        rename(source, target)
        if target.suffix == ".bin":
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        vocseg.export("simple_conv_net", tmp_path / "net.xml", to="openvino", weights="none")
    assert [file.name for file in tmp_path.iterdir()] == ["net.bin"]
    monkeypatch.undo()
    vocseg.export("simple_conv_net", tmp_path / "net.xml", to="openvino", weights="none")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["net.bin", "net.xml"]


def test_what_a_killed_export_left_is_deleted(tmp_path: Path) -> None:
    leftover = tmp_path / f".net.onnx.{'0' * 16}.part"
    leftover.mkdir()
    (leftover / "net.onnx").write_text("half")
    vocseg.export("two_layer_net", tmp_path / "net.onnx", weights="none")
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]


def test_weights_of_other_classes_need_their_names(run: Run, tmp_path: Path) -> None:
    torch.save(vocseg.create_model("two_layer_net", ["a", "b", "c"]).network.state_dict(), tmp_path / "w.pth")
    verb = ("export", "two_layer_net", "--weights", tmp_path / "w.pth", "--out", tmp_path / "net.onnx")
    fails(run(*verb), "w.pth has 3 classes but not their names, and two_layer_net has VOC's 21; give its classes")
    fails(run(*verb, "--classes", "a,b"), "w.pth predicts 3 classes, but 2 names were passed")
    assert run(*verb, "--classes", "a, b, c")[0] == 0
    assert read_onnx(tmp_path / "net.onnx")[1].classes == ("a", "b", "c")


def test_a_network_with_other_outputs_than_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Conv2d predicts 3 classes, but has 2 class names"):
        vocseg.export(torch.nn.Conv2d(3, 3, 1), tmp_path / "net.onnx", classes=["a", "b"])


def test_a_model_of_a_fixed_shorter_side(tmp_path: Path) -> None:
    """The file takes images as the model's description says: its user resizes them."""
    model = vocseg.create_model("two_layer_net", ["a", "b"])
    model.set_info(replace(model.info, short_side=96))
    assert vocseg.export(model, tmp_path / "net.onnx").parity.same_pixels == 1
    assert read_onnx(tmp_path / "net.onnx")[1].short_side == 96


def test_a_folder_that_cannot_be_written(model: SegmentationModel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        vocseg.export(model, tmp_path / "file" / "network.onnx")


def test_int8_is_refused_for_onnx(model: SegmentationModel, synth: Path) -> None:
    with pytest.raises(SettingError, match="int8 requires the format openvino"):
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


def test_a_fixed_size_other_than_the_models_shorter_side(tmp_path: Path) -> None:
    model = vocseg.create_model("two_layer_net", ["a", "b"])
    model.set_info(replace(model.info, short_side=96))
    assert vocseg.export(model, tmp_path / "net.onnx", size=(64, 80)).parity.same_pixels == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--int8", "--data", "SYNTH"], "int8 requires the format openvino"),
        (["--int8", "--to", "openvino"], "int8 requires data"),
        (["--out", "network.pb"], "out network.pb must end in .onnx for onnx"),
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
