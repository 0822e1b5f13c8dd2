"""Folders of images and masks in many layouts must give the masks that they were made of."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from convert.scenes import COLORS, HEIGHT, WIDTH, colored, in_folders, masks_of, photo, put, put_images, same, scenes, with_void
from vocseg.convert import convert
from vocseg.data.layout import VocFolder
from vocseg.errors import DataError

LAYOUTS = [
    ("images/{}.jpg", "masks/{}.png"),
    ("images/{}.png", "labels/{}.png"),
    ("frames/{}.jpg", "annotations/{}_L.png"),
    ("rgb/{}_rgb.jpg", "gt/{}_gt.png"),
    ("JPEGImages/{}.jpg", "SegmentationClassRaw/{}.png"),
    ("data/imgs/{}.jpg", "data/mask/mask_{}.png"),
    ("shots/{}.jpg", "second/{}.png"),
    ("{}.jpg", "{}.png"),
    ("{}.png", "{}_mask.png"),
    ("all/{}.png", "all/{}_L.png"),
]


@pytest.mark.parametrize(("images", "masks"), LAYOUTS)
def test_folders(tmp_path: Path, images: str, masks: str) -> None:
    made = scenes(labels=11, void=11)
    put_images(tmp_path / "in", made, images)
    for name, mask in made.items():
        put(tmp_path / "in" / masks.format(name), mask)
    report = convert(tmp_path / "in", tmp_path / "out", void=("11",))
    got = masks_of(tmp_path / "out")
    assert same({name.removesuffix("_rgb"): mask for name, mask in got.items()}, with_void(made, 11))
    assert report.classes == tuple(f"class_{number}" for number in range(11))
    assert report.void == pytest.approx(48 / (HEIGHT * WIDTH))
    assert report.splits == {"train": 5, "val": 1}
    assert any("not named in the source: class_0" in note for note in report.notes)


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("{split}/{name}.png", "{split}annot/{name}.png"),
        ("{split}/{name}.png", "{split}_labels/{name}_L.png"),
        ("images/{split}/{name}.jpg", "labels/{split}/{name}.png"),
        ("{split}/images/{name}.jpg", "{split}/masks/{name}.png"),
        ("{split}/{name}.jpg", "{split}/{name}.png"),
    ],
)
def test_splits_from_folders(tmp_path: Path, images: str, masks: str) -> None:
    made = scenes(6)
    for number, (name, mask) in enumerate(made.items()):
        split = ("train", "train", "train", "val", "val", "test")[number]
        put(tmp_path / "in" / images.format(split=split, name=name), photo(number))
        put(tmp_path / "in" / masks.format(split=split, name=name), mask)
    report = convert(tmp_path / "in", tmp_path / "out")
    assert report.splits == {"test": 1, "train": 3, "val": 2}
    assert same(masks_of(tmp_path / "out"), made)
    assert VocFolder.find(tmp_path / "out").ids("val") == ["scene_003", "scene_004"]


def test_stray_images_and_folders_without_masks(tmp_path: Path) -> None:
    made = scenes()
    put_images(tmp_path / "in" / "images", made)
    put_images(tmp_path / "in" / "test", scenes(2), "t{}.jpg")
    put(tmp_path / "in" / "preview.png", photo(0))
    for name, mask in made.items():
        put(tmp_path / "in" / "masks" / f"{name}.png", mask)
        put(tmp_path / "in" / "masks_color" / f"{name}.png", colored(mask))
    report = convert(tmp_path / "in", tmp_path / "out")
    assert same(masks_of(tmp_path / "out"), made)
    assert any("3 folders of images without masks or masks without images" in note for note in report.notes)


def test_camvid_knows_its_classes(tmp_path: Path) -> None:
    made = scenes(4, 11, void=11)
    put_images(tmp_path / "in" / "train", made)
    for name, mask in made.items():
        put(tmp_path / "in" / "trainannot" / f"{name}.png", mask)
    report = convert(tmp_path / "in", tmp_path / "out", kind="camvid")
    assert report.classes[3] == "road"
    assert report.splits == {"train": 3, "val": 1}  # a val is drawn from train where there is none
    assert same(masks_of(tmp_path / "out"), with_void(made, 11))
    put(tmp_path / "in" / "classes.txt", "\n".join("abcdefghijk"))
    assert convert(tmp_path / "in", tmp_path / "named", kind="camvid").classes == tuple("abcdefghijk")
    assert same(masks_of(tmp_path / "named"), with_void(made, 11))


def test_same_names_in_several_folders_and_blanks(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val")):
        for name in ("one two", "b"):
            put(tmp_path / "in" / split / "images" / f"{name}.jpg", photo(number))
            put(tmp_path / "in" / split / "masks" / f"{name}.png", scenes(2)[f"scene_00{number}"])
    convert(tmp_path / "in", tmp_path / "out")
    assert VocFolder.find(tmp_path / "out").ids("train") == ["train_images_b", "train_images_one_two"]


def test_images_and_masks_options(tmp_path: Path) -> None:
    made = scenes()
    put_images(tmp_path / "a", made)
    for name, mask in made.items():
        put(tmp_path / "b" / f"{name}.png", mask)
    convert(tmp_path, tmp_path / "out", images=tmp_path / "a", masks=tmp_path / "b")
    assert same(masks_of(tmp_path / "out"), made)
    with pytest.raises(DataError, match="--images and --masks go together"):
        convert(tmp_path, tmp_path / "out2", kind="folders", images=tmp_path / "a")
    with pytest.raises(DataError, match="gone is not a folder"):
        convert(tmp_path, tmp_path / "out2", kind="folders", images=tmp_path / "a", masks=tmp_path / "gone")


@pytest.mark.parametrize("table", ["class_dict.csv", "labelmap.txt", "label_colors.txt", "option"])
@pytest.mark.parametrize("palette", [False, True])
def test_colors(tmp_path: Path, table: str, palette: bool) -> None:
    made = scenes()
    put_images(tmp_path / "in" / "images", made)
    for name, mask in made.items():
        image = Image.fromarray(colored(mask))
        put(tmp_path / "in" / "masks" / f"{name}.png", image.quantize(8) if palette else image)
    form = {"labelmap.txt": "{}:{},{},{}::", "label_colors.txt": "{1} {2} {3}\t{0}"}.get(table, "{},{},{},{}")
    lines = "\n".join(form.format(name, *color) for name, color in COLORS.items())
    path = put(tmp_path / "my.csv" if table == "option" else tmp_path / "in" / table, lines)
    report = convert(tmp_path / "in", tmp_path / "out", colors=path if table == "option" else None)
    assert report.classes == tuple(COLORS)
    assert same(masks_of(tmp_path / "out"), made)


def test_colored_masks_are_known_by_their_few_colors(tmp_path: Path) -> None:
    made = scenes()
    put_images(tmp_path / "in" / "a", made, "{}.png")
    for name, mask in made.items():
        put(tmp_path / "in" / "b" / f"{name}.png", colored(mask))
    table = put(tmp_path / "c.csv", "\n".join(f"{n},{r},{g},{b}" for n, (r, g, b) in COLORS.items()))
    convert(tmp_path / "in", tmp_path / "out", colors=table)
    assert same(masks_of(tmp_path / "out"), made)


def test_camvid_as_it_was_published(tmp_path: Path) -> None:
    made = scenes()
    put_images(tmp_path / "in" / "701_StillsRaw_full", made, "{}.png")
    for name, mask in made.items():
        put(tmp_path / "in" / "LabeledApproved_full" / f"{name}_L.png", colored(mask))
    put(tmp_path / "in" / "label_colors.txt", "\n".join(f"{r} {g} {b}\t\t{n}" for n, (r, g, b) in COLORS.items()))
    assert convert(tmp_path / "in", tmp_path / "out").classes == tuple(COLORS)
    assert same(masks_of(tmp_path / "out"), made)


def test_names_with_a_byte_order_mark(tmp_path: Path) -> None:
    root = in_folders(tmp_path / "in", scenes(labels=3))
    (root / "classes.txt").write_text("road\nsky\ncar\n", encoding="utf-8-sig")
    assert convert(root, tmp_path / "out").classes == ("road", "sky", "car")


def test_two_images_of_one_name(tmp_path: Path) -> None:
    root = in_folders(tmp_path / "in", scenes())
    twin = next((root / "images").iterdir())
    put(twin.with_suffix(".png"), photo(9))
    with pytest.raises(DataError, match="have the same name; remove or rename one"):
        convert(root, tmp_path / "out")
