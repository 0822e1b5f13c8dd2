"""Cityscapes' layout, with ids, color and instance masks side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convert.scenes import HEIGHT, WIDTH, masks_of, photo, put, same, scenes
from vocseg.convert import convert
from vocseg.errors import DataError


def test_cityscapes(tmp_path: Path) -> None:
    ids = np.array([7, 8, 26, 24, 4, 33, 0], dtype=np.uint8)
    wanted = np.array([0, 1, 13, 11, 255, 18, 255], dtype=np.uint8)
    made = scenes(6, 7)
    for number, (name, mask) in enumerate(made.items()):
        split, city = ("train", "train", "train", "train", "val", "val")[number], ("aachen", "ulm")[number % 2]
        put(tmp_path / "in" / "leftImg8bit" / split / city / f"{city}_{name}_leftImg8bit.png", photo(number))
        stem = tmp_path / "in" / "gtFine" / split / city / f"{city}_{name}_gtFine"
        put(Path(f"{stem}_labelIds.png"), ids[mask])
        put(Path(f"{stem}_color.png"), np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8))
        put(Path(f"{stem}_instanceIds.png"), mask.astype(np.uint16))
    report = convert(tmp_path / "in", tmp_path / "out")
    assert report.kind == "cityscapes"
    assert len(report.classes) == 19
    assert report.splits == {"train": 4, "val": 2}
    got = {name.split("_", 1)[1]: mask for name, mask in masks_of(tmp_path / "out").items()}
    assert same(dict(sorted(got.items())), {name: wanted[mask] for name, mask in made.items()})
    with pytest.raises(DataError, match="has an image"):
        convert(tmp_path / "in" / "gtFine", tmp_path / "out2", kind="cityscapes")
