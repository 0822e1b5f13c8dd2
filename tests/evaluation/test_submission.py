"""The archive for VOC's test server, made and checked."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vocseg
from vocseg import draw, voc
from vocseg.data.layout import VocFolder
from vocseg.data.synthetic import write_synthetic
from vocseg.errors import DataError, ModelError, OutputError, SettingError
from vocseg.evaluation.submission_check import FAULTS, FOLDER
from vocseg.models import create_model, save_model

PLACE = FOLDER.format(task="comp6")
Entries = list[tuple[str, bytes]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set of VOC's classes with a test split that has no masks."""
    root = tmp_path / "VOC2012"
    write_synthetic(root, train=2, val=3, size=(24, 32), seed=1)
    (root / voc.CLASSES_FILE).unlink()
    for name in VocFolder.find(root).ids("trainval"):  # of one size
        for path in (root / voc.IMAGES / f"{name}.jpg", root / voc.MASKS / f"{name}.png"):
            with Image.open(path) as image:
                image.resize((32, 24), Image.Resampling.NEAREST).save(path)
    lists = root / voc.SPLITS
    (lists / "test.txt").write_text((lists / "val.txt").read_text())
    return root


@pytest.fixture
def names(data: Path) -> list[str]:
    return VocFolder.find(data).ids("val")


@pytest.fixture
def masks(data: Path, names: list[str], tmp_path: Path) -> Path:
    for name in names:
        draw.save_mask(torch.randint(0, 21, (24, 32), dtype=torch.uint8), tmp_path / "masks" / f"{name}.png")
    return tmp_path / "masks"


def contents(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive.getmembers()}  # type: ignore[union-attr]


def test_masks_in_an_archive_that_is_always_the_same(data: Path, masks: Path, names: list[str], tmp_path: Path) -> None:
    result = vocseg.submit(masks, data, tmp_path / "a.tar.gz")
    found = contents(tmp_path / "a.tar.gz")
    assert list(found) == [f"{PLACE}/{name}.png" for name in sorted(names)]
    for name in names:
        with Image.open(io.BytesIO(found[f"{PLACE}/{name}.png"])) as image, Image.open(masks / f"{name}.png") as mask:
            assert image.mode == "P"
            assert (image.getpalette() or [])[:63] == [part for label in range(21) for part in voc.color(label)]
            assert np.array_equal(np.array(image), np.array(mask))
    assert (result.images, result.split, result.task, result.scores) == (3, "test", "comp6", None)
    listed = data / voc.SPLITS / "test.txt"
    listed.write_text("\n".join(reversed(names)))
    for mask in masks.iterdir():  # gray masks, of another day
        Image.fromarray(np.array(Image.open(mask))).save(mask)
        os.utime(mask, (1, 1))
    vocseg.submit(masks, data, tmp_path / "b.tar.gz", json=tmp_path / "b.json")
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()
    assert json.loads((tmp_path / "b.json").read_text())["images"] == 3
    assert vocseg.check_submission(tmp_path / "b.tar.gz", data).ok
    vocseg.submit(masks, data, tmp_path / "b.tar.gz", task="comp5")  # ours may be replaced
    assert next(iter(contents(tmp_path / "b.tar.gz"))).startswith("results/VOC2012/Segmentation/comp5_test_cls/")


def test_a_test_set_needs_no_folder_of_masks(data: Path, masks: Path, tmp_path: Path) -> None:
    (data / voc.MASKS).rename(tmp_path / "truth")
    assert vocseg.submit(masks, data, tmp_path / "a.tar.gz").images == 3


def test_a_rehearsal_scores_the_archive_as_evaluate_scores_the_model(data: Path, tmp_path: Path) -> None:
    segmenter = vocseg.Segmenter(create_model("simple_conv_net", voc.CLASSES), device="cpu")
    result = vocseg.submit(segmenter, data, tmp_path / "a.tar.gz", on="val")
    expected = vocseg.evaluate(segmenter, data, "val")
    assert result.scores is not None
    assert result.scores.scores == expected.scores
    assert result.scores.interval == expected.interval


@pytest.mark.real_voc
def test_a_rehearsal_on_real_images(real_few: Path, tmp_path: Path) -> None:
    segmenter = vocseg.Segmenter(device="cpu")
    result = vocseg.submit(segmenter, real_few, tmp_path / "a.tar.gz", on="val")
    assert result.scores is not None
    assert result.scores.miou == pytest.approx(vocseg.evaluate(segmenter, real_few, "val").miou, abs=1e-12)


def test_comp5_is_for_voc_alone(data: Path, tmp_path: Path) -> None:
    model, file = create_model("simple_conv_net", voc.CLASSES), tmp_path / "m.safetensors"
    for trained_on, message in (
        (None, "does not say what it was trained on"),
        ("VOC2012 trainaug (10582 images, masks SegmentationClassAug)", "masks SegmentationClassAug"),
        ("roads train (12 images, masks SegmentationClass)", "roads"),
    ):
        save_model(file, model, replace(model.info, trained_on=trained_on))
        with pytest.raises(ModelError, match=rf"comp5 .*{message}.*: use comp6"):
            vocseg.submit(file, data, tmp_path / "a.tar.gz", task="comp5")
    save_model(file, model, replace(model.info, trained_on="VOC2012 train (1464 images, masks SegmentationClass)"))
    assert vocseg.submit(file, data, tmp_path / "a.tar.gz", task="comp5").task == "comp5"
    with pytest.raises(ModelError, match=r"2 classes, VOC has 21"):
        vocseg.submit(create_model("simple_conv_net", ("background", "cat")), data, tmp_path / "a.tar.gz")


def test_masks_that_the_server_would_not_take(data: Path, masks: Path, names: list[str], tmp_path: Path) -> None:
    victim = masks / f"{names[1]}.png"
    for labels, message in (
        (torch.zeros(3, 4, dtype=torch.uint8), r"is 3x4, its image .* 24x32"),
        (torch.full((24, 32), 255, dtype=torch.uint8), "holds 255; VOC's classes are 0 to 20"),
        (torch.full((24, 32), 21, dtype=torch.uint8), "holds 21"),
    ):
        draw.save_mask(labels, victim)
        with pytest.raises(DataError, match=message):
            vocseg.submit(masks, data, tmp_path / "a.tar.gz")
    victim.unlink()
    with pytest.raises(DataError, match=r"no mask for 1 of the 3 images of test; the first"):
        vocseg.submit(masks, data, tmp_path / "a.tar.gz")
    assert not (tmp_path / "a.tar.gz").exists()
    assert not list(tmp_path.glob(".*.part"))


def test_wrong_use(data: Path, masks: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="give one of the two"):
        vocseg.submit(masks, data, tmp_path / "a.tar.gz", split="val", on="val")
    with pytest.raises(SettingError, match="comp7"):
        vocseg.submit(masks, data, tmp_path / "a.tar.gz", task="comp7")  # type: ignore[arg-type]
    (tmp_path / "mine.tar.gz").write_bytes(b"mine")
    with pytest.raises(OutputError, match="vocseg did not write it"):
        vocseg.submit(masks, data, tmp_path / "mine.tar.gz")
    with pytest.raises(OutputError, match=r"ends in \.tar\.gz"):
        vocseg.submit(masks, data, next(masks.glob("*.png")), split="val")


def png(labels: np.ndarray, mode: str = "P", palette: list[int] | None = None, kind: str = "PNG", **options: object) -> bytes:
    image = Image.fromarray(labels)
    if mode == "P":
        image.putpalette([part for label in range(256) for part in voc.color(label)] if palette is None else palette)
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


LABELS = np.arange(24 * 32, dtype=np.uint8).reshape(24, 32) % 21
GOOD = png(LABELS)


def pack(path: Path, entries: Entries) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def first_content(content: bytes) -> Callable[[Entries], Entries]:
    return lambda entries: [(entries[0][0], content), *entries[1:]]


def first_name(change: Callable[[str], str]) -> Callable[[Entries], Entries]:
    return lambda entries: [(change(entries[0][0]), entries[0][1]), *entries[1:]]


CASES: list[tuple[str, Callable[[Entries], Entries], set[str]]] = [
    ("good", lambda entries: entries, set()),
    ("led by a dot", first_name(lambda name: f"./{name}"), set()),
    ("few colors", first_content(png(np.zeros((24, 32), np.uint8), palette=[0, 0, 0, 128, 0, 0], bits=1)), set()),
    ("gray", first_content(png(LABELS, "L")), {"wrong-mode"}),
    ("color", first_content(png(LABELS, "RGB")), {"wrong-mode"}),
    ("palette", first_content(png(LABELS, palette=[value // 3 for value in range(768)])), {"wrong-palette"}),
    ("size", first_content(png(LABELS[:, :31])), {"wrong-size"}),
    ("missing", lambda entries: entries[1:], {"missing-id"}),
    ("extra", lambda entries: [*entries, (f"{PLACE}/2007_999999.png", GOOD)], {"extra-id"}),
    ("macOS", lambda entries: [*entries, (f"{PLACE}/.DS_Store", b"")], {"extra-id"}),
    ("void", first_content(png(np.where(LABELS == 3, 255, LABELS).astype(np.uint8))), {"void"}),
    ("21", first_content(png(LABELS + 1)), {"stray-value"}),
    ("folder", first_name(lambda name: name.replace("Segmentation", "Main")), {"wrong-folder"}),
    ("no folder", first_name(lambda name: name.rpartition("/")[2]), {"wrong-folder"}),
    ("both tasks", lambda entries: [*entries[:2], (entries[2][0].replace("comp6", "comp5"), GOOD)], {"wrong-folder"}),
    ("upwards", first_name(lambda name: "../" + name), {"wrong-folder"}),
    ("back slashes", first_name(lambda name: name.replace("/", "\\")), {"backslash"}),
    ("duplicate", lambda entries: [*entries, entries[0]], {"duplicate"}),
    ("JPEG", first_content(png(LABELS, "RGB", kind="JPEG")), {"jpeg"}),
    ("JPEG by name", first_name(lambda name: name.replace(".png", ".jpg")), {"jpeg"}),
    ("cut PNG", first_content(GOOD[: len(GOOD) // 2]), {"unreadable"}),
    ("text", first_content(b"not an image"), {"unreadable"}),
    ("bomb", first_content(png(np.zeros((9000, 9000), np.uint8))), {"wrong-size"}),
]  # fmt: skip


@pytest.mark.parametrize(("change", "kinds"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_fault_is_named(
    data: Path, names: list[str], tmp_path: Path, change: Callable[[Entries], Entries], kinds: set[str]
) -> None:
    archive = pack(tmp_path / "a.tgz", change([(f"{PLACE}/{name}.png", GOOD) for name in names]))
    before = sorted(tmp_path.rglob("*"))
    check = vocseg.check_submission(archive, data)
    assert {fault.kind for fault in check.faults} == kinds
    assert all(fault.number == 1 for fault in check.faults)
    assert check.ok == (not kinds)
    assert check.images == 3
    assert sorted(tmp_path.rglob("*")) == before  # nothing is unpacked
    assert all(kind in line for kind, line in zip(sorted(kinds), sorted(check.lines()), strict=False))


def test_archives_that_are_none_or_cut(data: Path, names: list[str], tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tgz", [(f"{PLACE}/{name}.png", GOOD) for name in names])
    archive.write_bytes(archive.read_bytes()[:-60])
    check = vocseg.check_submission(archive, data)
    assert check.faults[0].kind == "truncated"
    archive.write_bytes(b"PK\x03\x04")
    check = vocseg.check_submission(archive, data)
    assert [fault.kind for fault in check.faults] == ["not-tar"]
    with pytest.raises(DataError, match="cannot read"):
        vocseg.check_submission(tmp_path / "none.tar", data)


def test_links_and_devices_are_not_followed(data: Path, names: list[str], tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for kind, name in ((tarfile.SYMTYPE, names[0]), (tarfile.LNKTYPE, names[1]), (tarfile.FIFOTYPE, names[2])):
            entry = tarfile.TarInfo(f"{PLACE}/{name}.png")
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    check = vocseg.check_submission(path, data, "val")
    assert {fault.kind: fault.number for fault in check.faults} == {"missing-id": 3, "extra-id": 3}


def test_a_flood_of_names_is_counted_not_kept(data: Path, tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tgz", [(f"{PLACE}/{number}.png", b"") for number in range(2000)])
    check = vocseg.check_submission(archive, data)
    [extra] = [fault for fault in check.faults if fault.kind == "extra-id"]
    assert (extra.number, len(extra.examples)) == (2000, 3)


def test_every_fault_has_a_case() -> None:
    assert {kind for case in CASES for kind in case[2]} | {"not-tar", "truncated"} == set(FAULTS)
