"""Masks that replace those of a data set while it is converted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convert.scenes import masks_of, same
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


def test_corrections_of_any_format_and_of_objects(synth: Path, fixed: Path, tmp_path: Path) -> None:
    (fixed / voc.SPLITS / "train.txt").rename(fixed / voc.SPLITS / "val.txt")
    convert(synth, tmp_path / "expected", corrections=fixed)
    convert(fixed, tmp_path / "labelme", to="labelme")
    convert(synth, tmp_path / "one", corrections=tmp_path / "labelme")
    assert same(masks_of(tmp_path / "one"), masks_of(tmp_path / "expected"))
    convert(synth, tmp_path / "coco", to="coco")
    convert(tmp_path / "coco", tmp_path / "two", corrections=tmp_path / "labelme")
    assert same(masks_of(tmp_path / "two"), masks_of(tmp_path / "expected"))


def test_corrections_that_do_not_fit(synth: Path, fixed: Path, tmp_path: Path) -> None:
    names = (fixed / voc.CLASSES_FILE).read_text()
    (fixed / voc.CLASSES_FILE).write_text(f"{names}more\n")
    with pytest.raises(DataError, match=r"has the class 'more', which .* does not have"):
        convert(synth, tmp_path / "out", corrections=fixed)
    (fixed / voc.CLASSES_FILE).write_text(names)
    first = VocFolder.find(fixed).ids("train")[0]
    with Image.open(fixed / voc.MASKS / f"{first}.png") as mask:
        mask.resize((5, 5)).save(fixed / voc.MASKS / f"{first}.png")
    with pytest.raises(DataError, match=r"but its mask .* is 5x5"):
        convert(synth, tmp_path / "out", corrections=fixed)
    for folder, suffix in ((voc.IMAGES, ".jpg"), (voc.MASKS, ".png")):
        (fixed / folder / f"{first}{suffix}").rename(fixed / folder / f"new{suffix}")
    (fixed / voc.SPLITS / "train.txt").write_text("new\n")
    with pytest.raises(DataError, match="corrects new, which is not in"):
        convert(synth, tmp_path / "out", corrections=fixed)
    assert not (tmp_path / "out").exists()


def test_an_annotation_may_claim_any_size(synth: Path, fixed: Path, tmp_path: Path) -> None:
    (fixed / voc.SPLITS / "train.txt").rename(fixed / voc.SPLITS / "val.txt")
    convert(fixed, tmp_path / "labelme", to="labelme")
    [file, _] = sorted((tmp_path / "labelme" / "images").glob("*.json"))
    file.write_text(json.dumps(json.loads(file.read_text()) | {"imageHeight": 10**6, "imageWidth": 10**6}))
    with pytest.raises(DataError, match=r"but its correction .* 1000000x1000000"):
        convert(synth, tmp_path / "out", corrections=tmp_path / "labelme")
