"""Exported files of a small network whose classes are far apart, so that rounding does not decide."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from vocseg.data.layout import VocFolder
from vocseg.export.export import write_checked
from vocseg.models import SegmentationModel, create_model

NEEDED = ("onnx", "onnxscript", "onnxruntime", "openvino", "nncf")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if all(importlib.util.find_spec(name) for name in NEEDED):
        return
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.skip(reason="the extra export is not installed"))


@pytest.fixture(scope="session")
def model(synth: Path) -> SegmentationModel:
    torch.manual_seed(0)
    made = create_model("lraspp_mobilenet_v3_large", VocFolder.find(synth).classes, "none").eval()
    with torch.no_grad():
        for parameter in made.head_parameters():
            parameter.mul_(5)
    return made


@pytest.fixture(scope="session")
def onnx_file(model: SegmentationModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "network.onnx"
    parity = write_checked(model, path, "onnx")
    assert parity.same_pixels > 0.999
    assert parity.miou is None
    return path


@pytest.fixture(scope="session")
def openvino_file(model: SegmentationModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("openvino") / "network.xml"
    assert write_checked(model, path, "openvino").same_pixels > 0.999
    assert {file.name for file in path.parent.iterdir()} == {"network.xml", "network.bin"}
    return path
