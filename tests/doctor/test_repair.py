from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from doctor.defects import DEFECTS, image_path, labels, mask, name, save, split
from vocseg import voc
from vocseg.data.dataset import SplitDataset
from vocseg.data.image_io import read_mask
from vocseg.data.layout import VocFolder
from vocseg.doctor.examine import examine
from vocseg.doctor.repair import Repairs, repair
from vocseg.errors import DataError, InputError, OutputError

REMAIN = {"same_id", "leak", "one_class_split", "void_split", "one_name"}
"""Errors that only the owner of the data can decide about."""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def fix(folder: Path, out: Path, *void: int) -> Repairs:
    return examine(folder).repair(out, void)


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_copy_has_no_errors(broken: Path, tmp_path: Path, defect: str) -> None:
    kind, damage = DEFECTS[defect]
    damage(broken)
    before = contents(broken)
    if defect == "binary":
        with pytest.raises(DataError, match=r"no pair that can be repaired safely; the first: .*255 is void"):
            fix(broken, tmp_path / "out")
        return
    if defect == "palettes_of_their_own":
        with pytest.raises(DataError, match=r"label \d is colored .* in .*: labels are not class ids"):
            fix(broken, tmp_path / "out")
        return
    repairs = fix(broken, tmp_path / "out", *([11] if defect == "stray_label" else []))
    assert contents(broken) == before
    diagnosis = examine(tmp_path / "out")
    assert diagnosis.count("error") == (defect in REMAIN)
    assert json.loads((tmp_path / "out" / "fixes.json").read_text())["changes"] == repairs.to_dict()["changes"]
    assert not any(change.startswith("1 ids") for _, change in repairs.changes)
    if diagnosis.count("error") == 0:
        split = diagnosis.survey.splits[0]
        dataset = SplitDataset(VocFolder.find(tmp_path / "out", split.mask_dir), split.name)
        assert [sample.name for sample in map(dataset.read, range(len(dataset)))] == dataset.names
    lists = ("list-of-files", "repeated-id")
    if kind in ("gray-mask", "color-mask", "deep-mask", "channel-mask", "exif-rotated", "stray-label", *lists):
        assert repairs.changes or defect == "deep_stray"
    else:
        assert all(file.endswith(".txt") or defect == "reordered_palette" for file, _ in repairs.changes)


@pytest.mark.parametrize("defect", ["color_masks", "deep_mask", "gray_mask", "reordered_palette"])
def test_labels_are_what_they_were(sound: Path, broken: Path, tmp_path: Path, defect: str) -> None:
    DEFECTS[defect][1](broken)
    fix(broken, tmp_path / "out")
    for number in range(10):
        assert np.array_equal(labels(tmp_path / "out", number), labels(sound, number))
        assert Image.open(mask(tmp_path / "out", number)).mode == "P"


def test_masks_turn_with_their_images(broken: Path, tmp_path: Path) -> None:
    stored = {number: labels(broken, number) for number in (1, 2, 3, 4)}
    DEFECTS["exif_rotated"][1](broken)
    fix(broken, tmp_path / "out")
    for number, ids in stored.items():
        orientation = Image.open(image_path(broken, number)).getexif()[0x0112]
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{number}.png"  # Pillow's own turning of the mask, as reference
        Image.fromarray(ids).save(path, exif=exif)
        with Image.open(path) as image:
            assert np.array_equal(labels(tmp_path / "out", number), np.array(ImageOps.exif_transpose(image)))


def test_void(sound: Path, broken: Path, tmp_path: Path) -> None:
    DEFECTS["stray_label"][1](broken)
    fix(broken, tmp_path / "out", 11)
    expected = labels(sound, 1)
    expected[:2] = voc.VOID
    assert np.array_equal(labels(tmp_path / "out", 1), expected)
    repairs = fix(broken, tmp_path / "without")
    assert [file for file, _ in repairs.skipped] == [f"{voc.MASKS}/{name(1)}.png", f"{voc.MASKS}/{name(7)}.png"]
    assert "label 11" in repairs.skipped[0][1]
    assert not mask(tmp_path / "without", 1).exists()
    assert name(1) not in split(tmp_path / "without", "train").read_text()


def test_a_class_becomes_void_on_request(sound: Path, tmp_path: Path) -> None:
    fix(sound, tmp_path / "out", 2)
    ids, before = labels(tmp_path / "out", 0), labels(sound, 0)
    assert np.array_equal(ids, np.where(before == 2, voc.VOID, before))


def test_binary_masks_of_two_classes(broken: Path, tmp_path: Path) -> None:
    DEFECTS["binary"][1](broken)
    (broken / voc.CLASSES_FILE).write_text("background\nobject\n")
    fix(broken, tmp_path / "out")
    assert np.array_equal(labels(tmp_path / "out", 0), labels(broken, 0) // 255)
    assert examine(tmp_path / "out").count("error") == 0


def test_colors_by_labelmap(sound: Path, broken: Path, tmp_path: Path) -> None:
    """CVAT's export: own colors, background not first, no classes.txt."""
    names = [*(broken / voc.CLASSES_FILE).read_text().split()[1:], "background"]
    colors = {each: (10 * number, 200 - number, 7) for number, each in enumerate(names[:-1])} | {"background": (0, 0, 0)}
    (broken / "labelmap.txt").write_text("# label:color_rgb\n" + "".join(f"{n}:{r},{g},{b}::\n" for n, (r, g, b) in colors.items()))
    (broken / voc.CLASSES_FILE).unlink()
    table = np.array([(0, 0, 0), *(colors[each] for each in names[:-1])], dtype=np.uint8)
    for number in range(10):
        ids = labels(broken, number)
        Image.fromarray(table[np.where(ids == voc.VOID, 0, ids)]).save(mask(broken, number))
    repairs = fix(broken, tmp_path / "out")
    assert repairs.skipped == []
    assert VocFolder.find(tmp_path / "out").classes == VocFolder.find(sound).classes
    before = labels(sound, 5)
    assert np.array_equal(labels(tmp_path / "out", 5), np.where(before == voc.VOID, 0, before))


def test_unchanged_files_are_copied_as_they_are(sound: Path, tmp_path: Path) -> None:
    repairs = fix(sound, tmp_path / "out")
    assert repairs.changes == repairs.skipped == []
    assert repairs.copied == 10
    copy = contents(tmp_path / "out")
    del copy["fixes.json"]
    assert copy == contents(sound)


def test_without_lists_there_is_one(broken: Path, tmp_path: Path) -> None:
    shutil.rmtree(broken / "ImageSets")
    fix(broken, tmp_path / "out")
    assert len(VocFolder.find(tmp_path / "out").ids("all")) == 10


def test_several_mask_folders(broken: Path, tmp_path: Path) -> None:
    DEFECTS["other_masks"][1](broken)
    fix(broken, tmp_path / "out")
    diagnosis = examine(tmp_path / "out")
    assert {split.name: split.mask_dir for split in diagnosis.survey.splits}["trainaug"] == "SegmentationClassAug"
    assert torch.equal(read_mask(tmp_path / "out" / "SegmentationClassAug" / "extra.png"), torch.ones(48, 64, dtype=torch.uint8))
    repair(examine(broken, splits=["trainaug"]), tmp_path / "one")
    assert examine(tmp_path / "one").pairs == 7


@pytest.mark.parametrize("label", [-1, 255, 300])
def test_only_labels_become_void(sound: Path, tmp_path: Path, label: int) -> None:
    with pytest.raises(InputError, match=f"must be 0 to 254, not {label}"):
        fix(sound, tmp_path / "out", label)
    assert not (tmp_path / "out").exists()


def test_refusals(broken: Path, tmp_path: Path) -> None:
    diagnosis = examine(broken)
    for out in (broken, broken / voc.IMAGES):
        with pytest.raises(OutputError, match="not an empty folder; --fix never changes"):
            repair(diagnosis, out)
    with pytest.raises(OutputError, match="lies inside the data set"):
        repair(diagnosis, broken / "fixed")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        repair(diagnosis, tmp_path / "file")
    for number in range(10):
        save(labels(broken, number)[1:], mask(broken, number))
    with pytest.raises(DataError, match="no pair that can be repaired safely"):
        repair(examine(broken), tmp_path / "out")


def test_void_masks_are_not_binary(broken: Path, tmp_path: Path) -> None:
    for path in (broken / voc.MASKS).iterdir():
        with Image.open(path) as image:
            void = np.full((image.height, image.width), 255, np.uint8)
        Image.fromarray(void).save(path)
    kinds = {finding.kind for finding in examine(broken).findings}
    assert "all-void" in kinds
    assert "binary-mask" not in kinds
    repairs = fix(broken, tmp_path / "out")
    assert not any("255 to 1" in change for _, change in repairs.changes)


def test_a_repair_that_fails_leaves_nothing(broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vocseg.doctor.repair._write_lists", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fix(broken, tmp_path / "out")
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_a_copy_may_lie_beside_the_data_set_in_the_folder_that_holds_it(
    broken: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    home = broken.parent / "home"
    shutil.copytree(broken, home / "VOCdevkit" / "VOC2012")
    code, out, err = run("data", "doctor", home, "--fix", home / "fixed")
    assert code == 0, err
    assert "the copy: 0 errors" in out
    assert run("data", "doctor", home, "--fix", home / "VOCdevkit" / "VOC2012" / "fixed")[0] == 2
