from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.masks import assert_gives_the_masks, images
from vocseg.errors import ModelError
from vocseg.export.export import write_checked
from vocseg.export.onnx import read_onnx
from vocseg.models import SegmentationModel


@settings(max_examples=8, deadline=None)
@given(count=st.integers(1, 3), height=st.integers(17, 90), width=st.integers(17, 90))
def test_a_file_takes_any_number_of_images_of_any_size(
    model: SegmentationModel, onnx_file: Path, count: int, height: int, width: int
) -> None:
    assert_gives_the_masks(model, read_onnx(onnx_file)[0], images(count, height, width))


def test_a_file_describes_its_model(model: SegmentationModel, onnx_file: Path) -> None:
    assert read_onnx(onnx_file)[1] == model.info


def test_a_file_of_a_fixed_size_takes_only_that_size(model: SegmentationModel, tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    assert write_checked(model, path, "onnx", size=(64, 96)).same_pixels > 0.999
    masker, _ = read_onnx(path)
    assert_gives_the_masks(model, masker, images(2, 64, 96))
    with pytest.raises(Exception, match=r"96|64"):
        masker(images(1, 64, 64))


def test_another_file_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_text("not a network")
    with pytest.raises(ModelError, match=r"a\.onnx"):
        read_onnx(tmp_path / "a.onnx")


def test_an_onnx_file_of_another_program_is_a_model_error(tmp_path: Path) -> None:
    from onnx import parser, save_model

    graph = '<ir_version: 8, opset_import: ["" : 17]> net (float[N] x) => (float[N] y) { y = Relu(x) }'
    save_model(parser.parse_model(graph), tmp_path / "a.onnx")
    with pytest.raises(ModelError, match=r"a\.onnx is not an ONNX file exported by vocseg"):
        read_onnx(tmp_path / "a.onnx")
