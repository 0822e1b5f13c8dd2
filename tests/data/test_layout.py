from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vocseg import voc
from vocseg.data.layout import VocFolder
from vocseg.errors import DataError


def test_found_from_all_three_places(synth: Path, tmp_path: Path) -> None:
    year = tmp_path / "VOCdevkit" / "VOC2012"
    shutil.copytree(synth, year)
    for data in (tmp_path, tmp_path / "VOCdevkit", year):
        assert VocFolder.find(data).root == year


@pytest.mark.parametrize("year", voc.YEARS)
def test_every_year_and_the_newest_of_several(synth: Path, tmp_path: Path, year: str) -> None:
    shutil.copytree(synth, tmp_path / f"VOC{year}")
    assert VocFolder.find(tmp_path).root.name == f"VOC{year}"
    shutil.copytree(synth, tmp_path / "VOC2006")
    assert VocFolder.find(tmp_path).root.name == f"VOC{year}"


def test_classes(synth: Path, damaged: Path) -> None:
    assert VocFolder.find(synth).classes == ("background", "disc", "square", "triangle", "cross", "ring")
    (damaged / "classes.txt").unlink()
    assert VocFolder.find(damaged).classes == voc.CLASSES


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "names no class"), ("a\nb\na\n", "names class 'a' twice"), ("\n".join(map(str, range(256))), "names 256 classes")],
)
def test_bad_classes(damaged: Path, text: str, message: str) -> None:
    (damaged / "classes.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        VocFolder.find(damaged)


def test_ids(damaged: Path) -> None:
    lists = damaged / voc.SPLITS
    folder = VocFolder.find(damaged)
    assert folder.splits == ["train", "trainval", "val"]
    assert folder.ids("val") == [f"synth_{number:06d}" for number in range(6, 10)]
    # a second column, blank lines and Windows line ends, as VOC's class lists and editors leave them
    (lists / "odd.txt").write_text("synth_000001  1\r\n\r\nsynth_000002 -1\r\n")
    assert folder.ids("odd") == ["synth_000001", "synth_000002"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"no split list .*bad\.txt \(lists there: train, trainval, val\)"),
        ("\n \n", r"split list .*bad\.txt is empty"),
        ("nobody\n", r"id 'nobody' has no image in .*JPEGImages"),
        ("synth_000001\nsynth_000001\n", r"bad\.txt names 'synth_000001' twice"),
    ],
)
def test_bad_lists(damaged: Path, content: str | None, message: str) -> None:
    if content is not None:
        (damaged / voc.SPLITS / "bad.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        VocFolder.find(damaged).ids("bad")


def test_paths_and_blanks_in_a_list(damaged: Path) -> None:
    for folder, suffix in ((voc.IMAGES, "jpg"), (voc.MASKS, "png")):
        (damaged / folder / f"synth_000001.{suffix}").rename(damaged / folder / f"synth 1 (2).{suffix}")
        (damaged / folder / f"._synth_000002.{suffix}").write_bytes(b"what macOS leaves on other systems' disks")
    lines = ["synth 1 (2)", "/JPEGImages/synth_000002.jpg /SegmentationClass/synth_000002.png", "D:\\x\\synth_000003.jpg"]
    (damaged / voc.SPLITS / "odd.txt").write_text("\n".join(lines))
    assert VocFolder.find(damaged).ids("odd") == ["synth 1 (2)", "synth_000002", "synth_000003"]
    (damaged / voc.SPLITS / "odd.txt").write_text("a/synth_000002.jpg\nb/synth_000002.jpg\n")
    with pytest.raises(DataError, match=r"names 'synth_000002' twice: 'a/synth_000002\.jpg' and 'b/synth_000002\.jpg'"):
        VocFolder.find(damaged).ids("odd")


def test_nearest_split_is_suggested(synth: Path) -> None:
    with pytest.raises(DataError, match="did you mean 'train'"):
        VocFolder.find(synth).ids("trian")


def test_missing_mask_and_folders(damaged: Path, tmp_path: Path) -> None:
    (damaged / voc.MASKS / "synth_000007.png").unlink()
    with pytest.raises(DataError, match=r"id 'synth_000007' has no mask in .*SegmentationClass"):
        VocFolder.find(damaged).ids("val")
    with pytest.raises(DataError, match=r"no mask folder .*SegmentationClassAug"):
        VocFolder.find(damaged, "SegmentationClassAug")
    with pytest.raises(DataError, match=r"data folder .*nowhere does not exist"):
        VocFolder.find(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty is not in VOC layout"):
        VocFolder.find(tmp_path / "empty")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file is not a folder"):
        VocFolder.find(tmp_path / "file")


def test_png_images_and_upper_case(damaged: Path) -> None:
    from PIL import Image

    jpeg = damaged / voc.IMAGES / "synth_000006.jpg"
    Image.open(jpeg).save(damaged / voc.IMAGES / "synth_000006.PNG")
    with pytest.raises(DataError, match=r"id 'synth_000006' has two files, .*synth_000006\.PNG and .*synth_000006\.jpg; rename"):
        VocFolder.find(damaged).image("synth_000006")
    jpeg.unlink()
    assert VocFolder.find(damaged).image("synth_000006").suffix == ".PNG"


def test_a_mask_that_lies_elsewhere_is_pointed_out(damaged: Path) -> None:
    shutil.copytree(damaged / voc.MASKS, damaged / "SegmentationClassAug")
    (damaged / voc.MASKS / "synth_000007.png").unlink()
    with pytest.raises(DataError, match=r"\(it has one in SegmentationClassAug: --mask-dir SegmentationClassAug\)"):
        VocFolder.find(damaged).ids("val")


def test_a_folder_that_may_not_be_looked_into(synth: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = VocFolder.find(synth)

    def refuse(path: Path, *_: object, **__: object) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", refuse)
    monkeypatch.setattr(Path, "exists", refuse)
    for read in (lambda: VocFolder.find(synth), lambda: folder.lines("train")):
        with pytest.raises(DataError, match=rf"^cannot read {synth}.*: Permission denied$"):
            read()


def test_masks_of_objects_are_no_masks_of_classes(damaged: Path) -> None:
    (damaged / voc.MASKS).rename(damaged / "SegmentationObject")
    with pytest.raises(DataError, match="number objects, not classes; class ids are in SegmentationClass"):
        VocFolder.find(damaged, "SegmentationObject")
