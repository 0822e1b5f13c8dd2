from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vocseg import voc
from vocseg.data.image_io import decode_mask
from vocseg.draw import save_mask
from vocseg.errors import SettingError
from vocseg.inference import strip_writers
from vocseg.inference.strip_writers import check_suffix, write_strips
from vocseg.utils.files import MARK


@pytest.mark.parametrize("suffix", ["png", "tif"])
@settings(deadline=None, max_examples=25)
@given(height=st.integers(1, 600), width=st.integers(1, 600), step=st.integers(1, 300))
def test_files_hold_the_strips(tmp_path_factory: pytest.TempPathFactory, suffix: str, height: int, width: int, step: int) -> None:
    if suffix == "tif":
        pytest.importorskip("tifffile")
    mask = np.random.default_rng(height).integers(0, 21, (height, width)).astype(np.uint8)
    folder = tmp_path_factory.mktemp("masks")
    path = folder / f"mask.{suffix}"
    write_strips(path, (mask[start : start + step] for start in range(0, height, step)), mask.shape, voc.PALETTE[:21])
    decoded = decode_mask(path)
    assert decoded.kind == "palette"
    assert np.array_equal(decoded.labels, mask)
    assert MARK in path.read_bytes()[:4096]
    save_mask(torch.from_numpy(mask), folder / "whole.png", voc.PALETTE[:21])
    with Image.open(folder / "whole.png") as whole:
        assert decoded.palette == whole.getpalette()


def test_tiff_needs_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strip_writers, "can_write_tiff", lambda: False)
    with pytest.raises(SettingError, match=r"cannot write a\.tif: tifffile is not installed; pip install 'vocseg\[tiles\]'"):
        check_suffix(Path("a.tif"))
