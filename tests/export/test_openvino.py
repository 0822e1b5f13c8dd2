from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.masks import assert_gives_the_masks, images
from vocseg.errors import ModelError
from vocseg.export.openvino import read_openvino
from vocseg.models import SegmentationModel


@settings(max_examples=8, deadline=None)
@given(count=st.integers(1, 3), height=st.integers(17, 90), width=st.integers(17, 90))
def test_a_file_takes_any_number_of_images_of_any_size(
    model: SegmentationModel, openvino_file: Path, count: int, height: int, width: int
) -> None:
    assert_gives_the_masks(model, read_openvino(openvino_file, exact=True)[0], images(count, height, width))


def test_a_file_describes_its_model(model: SegmentationModel, openvino_file: Path) -> None:
    assert read_openvino(openvino_file)[1] == model.info


def test_another_file_is_a_model_error(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("not a network")
    with pytest.raises(ModelError, match=r"a\.xml"):
        read_openvino(tmp_path / "a.xml")
