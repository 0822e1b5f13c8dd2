"""Masks that replace those of a data set while it is converted."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convert.scenes import masks_of
from vocseg import voc
from vocseg.convert import convert
from vocseg.data.layout import VocFolder
from vocseg.errors import DataError


@pytest.fixture
def fixed(synth: Path, tmp_path: Path) -> Path:
    """Corrections of two of the images."""
    root = Path(shutil.copytree(synth, tmp_path / "fixed"))
    names = VocFolder.find(root).ids("train")[:2]
    for path in (root / voc.SPLITS).iterdir():
        path.unlink()
    (root / voc.SPLITS / "train.txt").write_text("\n".join(names))
    for name in names:
        with Image.open(root / voc.MASKS / f"{name}.png") as image:
            changed = Image.fromarray(np.full_like(np.array(image), 3))
        changed.save(root / voc.MASKS / f"{name}.png")
    return root


def test_corrected_masks_and_all_others(synth: Path, fixed: Path, tmp_path: Path) -> None:
    report = convert(synth, tmp_path / "out", corrections=fixed)
    before, after = masks_of(synth), masks_of(tmp_path / "out")
    names = VocFolder.find(fixed).ids("train")
    assert all((after[name] == 3).all() for name in names)
    assert all(np.array_equal(before[name], after[name]) for name in set(before) - set(names))
    assert any(note.startswith("2 masks corrected, from ") for note in report.notes)
    for split in ("train", "val"):
        assert VocFolder.find(tmp_path / "out").ids(split) == VocFolder.find(synth).ids(split)


def test_corrections_that_do_not_fit(synth: Path, fixed: Path, tmp_path: Path) -> None:
    names = (fixed / voc.CLASSES_FILE).read_text()
    (fixed / voc.CLASSES_FILE).write_text(f"{names}more\n")
    with pytest.raises(DataError, match="has other classes than"):
        convert(synth, tmp_path / "out", corrections=fixed)
    (fixed / voc.CLASSES_FILE).write_text(names)
    convert(synth, tmp_path / "coco", to="coco")
    with pytest.raises(DataError, match="corrections are for masks of class ids"):
        convert(tmp_path / "coco", tmp_path / "out", corrections=fixed)
    first = VocFolder.find(fixed).ids("train")[0]
    for folder, suffix in ((voc.IMAGES, ".jpg"), (voc.MASKS, ".png")):
        (fixed / folder / f"{first}{suffix}").rename(fixed / folder / f"new{suffix}")
    (fixed / voc.SPLITS / "train.txt").write_text("new\n")
    with pytest.raises(DataError, match="corrects new, which is not in"):
        convert(synth, tmp_path / "out", corrections=fixed)
    assert not (tmp_path / "out").exists()
