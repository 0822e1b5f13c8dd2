from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from doctor.defects import DEFECTS, image_path, labels, mask, name, save
from vocseg import voc
from vocseg.data.dataset import SplitDataset
from vocseg.data.layout import VocFolder
from vocseg.data.pack import pack
from vocseg.data.packed import PackedFiles
from vocseg.data.split_summary import check_split
from vocseg.data.synthetic import CLASSES
from vocseg.doctor.examine import Diagnosis, examine
from vocseg.doctor.issues import KINDS
from vocseg.errors import DataError, OutputError
from vocseg.evaluation.merge import merge

COMPANIONS = {
    # What a defect cannot but bring with it.
    "no_lists": set(),
    "missing_mask": {"orphan-image"},
    "unknown_file": set(),
    "deep_stray": {"deep-mask"},
    "binary": {"gray-mask", "absent-class", "all-background"},
    "unknown_color": {"color-mask"},
    "interpolated": {"absent-class"},
    "reordered_palette": {"absent-class", "palette-conflict"},
    "stray_label": {"absent-class"},
    "deep_mask": set(),
    "overlap": {"absent-class", "near-leak"},
    "other_masks": {"absent-class"},
    "one_class_split": {"all-background"},
    "void_split": {"all-void"},
    "one_name": {"void-objects", "all-background"},
}
"""Kinds that come with a defect besides its own; an absent class only where ids are damaged."""


def test_a_first_class_that_is_no_background_may_fill_a_image(broken: Path) -> None:
    names = (broken / "classes.txt").read_text().split()
    DEFECTS["all_background"][1](broken)
    (broken / "classes.txt").write_text("\n".join(["road", *names[1:]]))
    assert "all-background" not in {finding.kind for finding in examine(broken).findings}


def test_sound(sound: Path) -> None:
    diagnosis = examine(sound)
    assert diagnosis.findings == ()
    assert diagnosis.exit_code(strict=True) == 0
    assert diagnosis.pairs == 10
    assert {split.name: len(split.ids) for split in diagnosis.survey.splits} == {"train": 6, "trainval": 10, "val": 4}


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_is_found_exactly(broken: Path, defect: str) -> None:
    kind, damage = DEFECTS[defect]
    expected = damage(broken)
    diagnosis = examine(broken)
    found = {finding.kind: {case.file for case in finding.cases} for finding in diagnosis.findings}
    assert found[kind] == expected
    assert set(found) <= {kind, "absent-class"} | COMPANIONS.get(defect, set())
    severity = KINDS[kind].severity
    assert diagnosis.exit_code() == (2 if "error" in {KINDS[other].severity for other in found} else 0)
    assert severity != "warning" or diagnosis.exit_code(strict=True) in (1, 2)
    values = json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))
    assert {row["kind"]: {case["file"] for case in row["files"]} for row in values["findings"]} == found


def test_every_kind_has_a_defect() -> None:
    assert {kind for kind, _ in DEFECTS.values()} == set(KINDS) - {"damaged-shard"}  # of packed data


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_check_before_training_agrees(broken: Path, defect: str) -> None:
    """What the doctor calls an error of a file, the trainer's quick check refuses, and nothing else."""
    kind, damage = DEFECTS[defect]
    damage(broken)
    kinds = {kind} | COMPANIONS.get(defect, set())
    is_error = any(KINDS[kind].severity == "error" for kind in kinds)
    if is_error and kind not in ("same-id", "leak", "unreadable-list"):
        split = {"repeated-id": "train", "one-class": "val", "void-split": "val"}.get(kind, "trainval")
        with pytest.raises(DataError):
            check_split(SplitDataset(VocFolder.find(broken), split))
    elif defect not in ("no_lists", "class_names", "overlap", "other_masks", "leak", "near_leak", "duplicate", "near_duplicate"):
        check_split(SplitDataset(VocFolder.find(broken), "trainval"))


def test_class_table_and_weights(sound: Path) -> None:
    folder = VocFolder.find(sound)
    values = examine(sound).to_dict()
    for split in ("train", "val"):
        ids = folder.ids(split)
        masks = [np.array(Image.open(folder.mask(id_))) for id_ in ids]
        frequency = []
        for label in range(len(CLASSES)):
            showing = [one for one in masks if (one == label).any()]
            row = values["splits"][split]["per_class"][CLASSES[label]]
            assert row["images"] == len(showing)
            assert row["pixels"] == sum(int((one == label).sum()) for one in masks)
            frequency.append(row["pixels"] / sum(int((one != voc.VOID).sum()) for one in showing))
        middle = sorted(frequency)[(len(frequency) - 1) // 2]
        weights = [row["class_weight"] for row in values["splits"][split]["per_class"].values()]
        assert weights == pytest.approx([middle / one for one in frequency], rel=1e-4)
        assert values["splits"][split]["void_pixels"] == sum(int((one == voc.VOID).sum()) for one in masks)


def test_a_class_that_is_absent_weighs_one(broken: Path) -> None:
    DEFECTS["absent_class"][1](broken)
    assert examine(broken).summaries["train"].class_weights()[-1] == 1


def test_summaries_are_those_of_the_check(sound: Path) -> None:
    ours, theirs = examine(sound).summaries["val"], check_split(SplitDataset(VocFolder.find(sound), "val"))
    assert torch.equal(ours.pixels, theirs.pixels)
    assert torch.equal(ours.shown_in, theirs.shown_in)


def test_chosen_splits_only(broken: Path) -> None:
    DEFECTS["stray_label"][1](broken)
    diagnosis = examine(broken, splits=["val"])
    assert [case.file for case in diagnosis.findings[0].cases] == [f"{voc.MASKS}/{name(7)}.png"]
    assert diagnosis.pairs == 4
    with pytest.raises(DataError, match=r"no split list .*vall\.txt; did you mean 'val'"):
        examine(broken, splits=["vall"])


def test_mask_dir(broken: Path) -> None:
    (broken / voc.MASKS).rename(broken / "labels")
    with pytest.raises(DataError, match=r"no mask folder .*SegmentationClass; .*JPEGImages \(10 \.jpg\), labels \(10 \.png\)"):
        examine(broken)
    assert examine(broken, mask_dir="labels").findings == ()


def test_other_layouts_are_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        examine(tmp_path / "nowhere")
    with pytest.raises(DataError, match="it holds no images"):
        examine(tmp_path)
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        Image.new("L", (4, 4)).save(tmp_path / folder / "a.png")
    with pytest.raises(DataError, match=r"images \(1 \.png\), labels \(1 \.png\); `vocseg data convert`"):
        examine(tmp_path)


def test_road_scenes(tmp_path: Path) -> None:
    """Another kind of data set: no lists, own classes, class 0 no background, a stray void id in gray masks."""
    rng = np.random.default_rng(0)
    for folder in (voc.IMAGES, voc.MASKS):
        (tmp_path / folder).mkdir()
    for number in range(5):
        Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8)).save(image_path(tmp_path, number))
        ids = rng.integers(0, 11, (3, 4), np.uint8).repeat(10, 0).repeat(10, 1)
        ids[0] = 11
        Image.fromarray(ids).save(mask(tmp_path, number))
    (tmp_path / "classes.txt").write_text("".join(f"road{label}\n" for label in range(11)))
    found = {finding.kind: len(finding.cases) for finding in examine(tmp_path).findings}
    assert found == {"stray-label": 5, "no-lists": 1, "gray-mask": 5}


def test_nothing_at_all(broken: Path) -> None:
    """No crash without a single pair."""
    for path in [*(broken / voc.IMAGES).iterdir(), *(broken / voc.MASKS).iterdir()]:
        path.unlink()
    diagnosis = examine(broken)
    assert diagnosis.pairs == 0
    assert {finding.kind for finding in diagnosis.findings} == {"missing-image"}
    shutil.rmtree(broken / "ImageSets")
    assert {finding.kind for finding in examine(broken).findings} == {"no-lists"}


def test_all_defects_at_once_do_not_crash(broken: Path) -> None:
    for defect, (_, damage) in DEFECTS.items():
        if defect not in ("no_lists", "missing_image", "missing_mask", "orphan_mask"):
            try:
                damage(broken)
            except (OSError, ValueError):
                continue  # an earlier defect has left nothing to damage
    assert examine(broken).count("error") > 5


def test_odd_files(broken: Path) -> None:
    """A one-bit, a tiny and a 32-bit mask; a folder named like a mask."""
    Image.fromarray(labels(broken, 1) > 0).save(mask(broken, 1))
    Image.new("RGB", (1, 1)).save(image_path(broken, 2))
    save(np.array([[1]]), mask(broken, 2))
    Image.fromarray(np.full(labels(broken, 3).shape, 70000, np.int32)).save(mask(broken, 3).with_suffix(".tif"))
    mask(broken, 3).with_suffix(".tif").rename(mask(broken, 3))
    mask(broken, 4).unlink()
    mask(broken, 4).mkdir()
    found = {finding.kind: {case.file for case in finding.cases} for finding in examine(broken).findings}
    assert found["unreadable-mask"] == {f"{voc.MASKS}/{name(4)}.png"}
    assert found["stray-label"] == found["deep-mask"] == {f"{voc.MASKS}/{name(3)}.png"}
    assert found["gray-mask"] == {f"{voc.MASKS}/{name(1)}.png"}
    assert set(found) - {"absent-class"} == {"unreadable-mask", "stray-label", "deep-mask", "gray-mask"}


def test_saved_files(broken: Path, tmp_path: Path) -> None:
    DEFECTS["stray_label"][1](broken)
    diagnosis = examine(broken, html=tmp_path / "page")
    assert "label 11" in (tmp_path / "page").read_text()
    diagnosis.save(tmp_path / "doctor.json")
    assert json.loads((tmp_path / "doctor.json").read_text()) == diagnosis.to_dict()
    before = mask(broken, 1).read_bytes()
    for write in (diagnosis.save, diagnosis.save_page):
        with pytest.raises(OutputError, match="cannot write"):
            write(mask(broken, 1))
    assert mask(broken, 1).read_bytes() == before


def test_the_page_shows_an_image_under_its_worst_finding_only(broken: Path, tmp_path: Path) -> None:
    Image.fromarray(np.where(labels(broken, 1) > 0, 11, 0).astype(np.uint8)).save(mask(broken, 1))  # stray, and gray
    page = tmp_path / "page.html"
    examine(broken, splits=["train"], html=page)
    sections = {kind: text for text in page.read_text().split("<section")[1:] for kind in KINDS if f" of {kind}<" in text}
    assert "<img" in sections["stray-label"]
    assert "<img" not in sections["gray-mask"]


def test_no_absolute_path_in_pages_and_json(broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for damage in ("unreadable_list", "truncated_image", "stray_label", "unreadable_mask"):
        DEFECTS[damage][1](broken)
    for folder in (tmp_path, Path("/")):
        monkeypatch.chdir(folder)
        diagnosis = examine(broken, html=tmp_path / "page.html")
        diagnosis.save(tmp_path / "doctor.json")
        for file in ("page.html", "doctor.json"):
            assert str(broken.parent) not in (tmp_path / file).read_text()


def test_page_of_an_unreadable_image_without_mask(broken: Path, tmp_path: Path) -> None:
    mask(broken, 1).unlink()
    image_path(broken, 1).write_bytes(b"")
    examine(broken, html=tmp_path / "page")
    assert f"missing-mask</summary>\n<ul><li>{name(1)}" in (tmp_path / "page").read_text()


def test_masks_that_cannot_be_read_show_no_class_and_no_void(broken: Path) -> None:
    for path in (broken / voc.MASKS).iterdir():
        path.write_bytes(b"")
    kinds = {finding.kind for finding in examine(broken).findings}
    assert "unreadable-mask" in kinds
    assert not kinds & {"void-split", "absent-class"}


def test_a_changed_byte_in_packed_data_is_found(synth: Path, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    pack(synth, shards, images_per_shard=2)
    sound = examine(shards)
    assert sound.findings == examine(synth).findings
    path, offset, size = PackedFiles(shards).shards[3].files[0]
    assert path == f"{voc.IMAGES}/{name(6)}.jpg"
    with open(shards / "shard-000003.tar", "r+b") as file:
        file.seek(offset + size - 2)
        file.write(b"\0")  # where decoders do not look
    (shards / "shard-000001.tar").rename(tmp_path / "elsewhere")
    found = examine(shards)
    assert [(case.kind, case.file) for finding in found.findings for case in finding.cases if case.kind == "damaged-shard"] == [
        ("damaged-shard", "shard-000001.tar"),
        ("damaged-shard", "shard-000003.tar"),
    ]
    (tmp_path / "elsewhere").rename(shards / "shard-000001.tar")
    for number in (1, 2, 3):
        examine(shards, out=tmp_path / "out", shard=f"{number}/3")
    merged = merge(tmp_path / "out")
    assert isinstance(merged, Diagnosis)
    assert merged.findings == examine(shards).findings != sound.findings


@pytest.mark.real_voc
def test_real(real_voc: Path) -> None:
    diagnosis = examine(real_voc, splits=["train_2007", "val_2007"])
    assert diagnosis.findings == ()
    assert diagnosis.pairs == 472
