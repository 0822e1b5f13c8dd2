from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocseg import voc
from vocseg.data.layout import VocFolder, resolve_id
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


LINES = [
    ("{}", "a line with the id"),
    ("{}.jpg", "a file name"),
    ("/JPEGImages/{}.jpg", "a path"),
    ("D:\\data\\JPEGImages\\{}.jpg", "a path of Windows"),
    ("/JPEGImages/{0}.jpg /SegmentationClass/{0}.png", "a path and its mask"),
    ("JPEGImages/{0}.jpg,SegmentationClass/{0}.png", "separated by a comma"),
    ("{0}.jpg;{0}.png", "by a semicolon"),
    ("{0}\t1", "a flag after a tab"),
    ("{} -1", "a flag"),
    ("/data/my images/{0}.JPG\t/data/my masks/{0}.png", "folders with blanks"),
]
IDS = ["weed", "weed (1)", "weed (1) copy", "2007_000032", "#1", "a.b", "0 1", "größe", "-x"]


@pytest.mark.parametrize("line", [line for line, _ in LINES], ids=[kind for _, kind in LINES])
@pytest.mark.parametrize("name", IDS)
def test_lines_of_lists(line: str, name: str) -> None:
    assert resolve_id(line.format(name), {*IDS}) == name


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1), st.sets(st.text(min_size=1)))
def test_any_line_is_an_id_or_one_error(line: str, ids: set[str]) -> None:
    line = line.strip()
    if not line:
        return
    with contextlib.suppress(DataError):
        assert resolve_id(line, ids | {line}) == line
    with contextlib.suppress(DataError):
        assert resolve_id(line, ids)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("weed,2007_000032", "the line 'weed,2007_000032' names 'weed' and '2007_000032'; write one id a line"),
        ("JPEGImages/weed.jpg masks/other.png", "names 'weed' and 'other'"),
        ("a.jpg", "'a.jpg' names the ids 'a' and 'a.jpg'"),
    ],
)
def test_ambiguous_lines(line: str, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        resolve_id(line, {*IDS, "a", "a.jpg"})


@pytest.mark.parametrize(
    ("line", "name"), [("new", "new"), ("new 1", "new"), ("x/new.jpg x/new.png", "new"), ("new (2)", "new (2)"), ("/", "/")]
)
def test_unknown_lines(line: str, name: str) -> None:
    assert resolve_id(line, {"weed"}) == name


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
