"""Each source format, made by a generator of its own, must give the masks that it was made of."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as reference

from convert.test_regions import label_studio_rle
from vocseg import voc
from vocseg.convert import Options, Report, convert
from vocseg.data.image_io import read_mask
from vocseg.data.layout import VocFolder
from vocseg.errors import DataError, OutputError, SettingError, VocsegError

Scenes = dict[str, np.ndarray]
HEIGHT, WIDTH = 24, 32


def scenes(count: int = 6, labels: int = 4, void: int | None = None) -> Scenes:
    """Masks of blocks of labels 0 to ``labels`` - 1, with a stripe of ``void``."""
    made = {}
    for number in range(count):
        rng = np.random.default_rng(number)
        mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        for label in range(1, labels):
            top, left = rng.integers(0, 14), rng.integers(0, 22)
            mask[top : top + 8, left : left + 9] = label
        if void is not None:
            mask[-3:, 4:20] = void
        made[f"scene_{number:03d}"] = mask
    return made


def photo(number: int) -> Image.Image:
    noise = np.random.default_rng(1000 + number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


def put(path: Path, content: Image.Image | np.ndarray | str | dict | list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        path.write_text(content)
    elif isinstance(content, (dict, list)):
        path.write_text(json.dumps(content))
    else:
        (Image.fromarray(content) if isinstance(content, np.ndarray) else content).save(path)
    return path


def put_images(folder: Path, names: Scenes, form: str = "{}.jpg") -> None:
    for number, name in enumerate(names):
        put(folder / form.format(name), photo(number))


def masks_of(out: Path, mask_dir: str = voc.MASKS) -> Scenes:
    folder = VocFolder.find(out, mask_dir)
    for split in folder.splits:
        folder.ids(split)
    found = {path.stem: read_mask(path, len(folder.classes)).numpy() for path in sorted((out / mask_dir).glob("*.png"))}
    for name, mask in found.items():
        with Image.open(folder.image(name)) as image:
            assert image.size == mask.shape[::-1]
    return found


def same(one: Scenes, other: Scenes) -> bool:
    return list(one) == list(other) and all(np.array_equal(one[name], other[name]) for name in one)


def with_void(masks: Scenes, void: int) -> Scenes:
    return {name: np.where(mask == void, 255, mask).astype(np.uint8) for name, mask in masks.items()}


# --- folders ---------------------------------------------------------------------------------------------------------

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
    report = convert(tmp_path / "in", tmp_path / "out", Options(void=("11",)))
    got = masks_of(tmp_path / "out")
    assert same({name.removesuffix("_rgb"): mask for name, mask in got.items()}, with_void(made, 11))
    assert report.classes == tuple(f"class_{number}" for number in range(11))
    assert report.void == pytest.approx(48 / (HEIGHT * WIDTH))
    assert report.splits == {"train": 5, "val": 1}
    assert any("so called class_0" in note for note in report.notes)


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
    report = convert(tmp_path / "in", tmp_path / "out", Options(kind="camvid"))
    assert report.classes[3] == "road"
    assert report.splits == {"train": 3, "val": 1}  # a val is drawn from train where there is none
    assert same(masks_of(tmp_path / "out"), with_void(made, 11))


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
    convert(tmp_path, tmp_path / "out", Options(images=tmp_path / "a", masks=tmp_path / "b"))
    assert same(masks_of(tmp_path / "out"), made)
    with pytest.raises(DataError, match="--images and --masks go together"):
        convert(tmp_path, tmp_path / "out2", Options(kind="folders", images=tmp_path / "a"))
    with pytest.raises(DataError, match="gone is not a folder"):
        convert(tmp_path, tmp_path / "out2", Options(kind="folders", images=tmp_path / "a", masks=tmp_path / "gone"))


def test_void_in_the_middle_closes_up(tmp_path: Path) -> None:
    made = scenes(4, 5)
    put_images(tmp_path / "in" / "images", made)
    for name, mask in made.items():
        put(tmp_path / "in" / "masks" / f"{name}.png", mask)
    put(tmp_path / "in" / "classes.txt", "ground\nignore\ncar\nbus\ncat\n")
    report = convert(tmp_path / "in", tmp_path / "out", Options(void=("ignore", "3")))
    assert report.classes == ("ground", "car", "cat")
    wanted = {name: np.array([0, 255, 1, 255, 2], dtype=np.uint8)[mask] for name, mask in made.items()}
    assert same(masks_of(tmp_path / "out"), wanted)


def test_images_are_copied_byte_for_byte(tmp_path: Path) -> None:
    made = scenes(3)
    for number, (name, mask) in enumerate(made.items()):
        put(tmp_path / "in" / "images" / f"{name}.{('JPG', 'png', 'bmp')[number]}", photo(number))
        put(tmp_path / "in" / "masks" / f"{name}.png", mask)
    convert(tmp_path / "in", tmp_path / "out")
    for name, suffix in (("scene_000", "JPG"), ("scene_001", "png")):
        source = tmp_path / "in" / "images" / f"{name}.{suffix}"
        assert (tmp_path / "out" / voc.IMAGES / f"{name}.{suffix.lower()}").read_bytes() == source.read_bytes()
    with Image.open(tmp_path / "out" / voc.IMAGES / "scene_002.png") as image:
        assert np.array_equal(np.array(image), np.array(photo(2)))


COLORS = {"sky": (70, 130, 180), "road": (128, 64, 128), "car": (0, 0, 142), "mark": (9, 9, 9)}


def colored(mask: np.ndarray) -> np.ndarray:
    return np.array(list(COLORS.values()), dtype=np.uint8)[mask]


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
    report = convert(tmp_path / "in", tmp_path / "out", Options(colors=path if table == "option" else None))
    assert report.classes == tuple(COLORS)
    assert same(masks_of(tmp_path / "out"), made)


def test_colored_masks_are_known_by_their_few_colors(tmp_path: Path) -> None:
    made = scenes()
    put_images(tmp_path / "in" / "a", made, "{}.png")
    for name, mask in made.items():
        put(tmp_path / "in" / "b" / f"{name}.png", colored(mask))
    table = put(tmp_path / "c.csv", "\n".join(f"{n},{r},{g},{b}" for n, (r, g, b) in COLORS.items()))
    convert(tmp_path / "in", tmp_path / "out", Options(colors=table))
    assert same(masks_of(tmp_path / "out"), made)


def test_camvid_as_it_was_published(tmp_path: Path) -> None:
    made = scenes()
    put_images(tmp_path / "in" / "701_StillsRaw_full", made, "{}.png")
    for name, mask in made.items():
        put(tmp_path / "in" / "LabeledApproved_full" / f"{name}_L.png", colored(mask))
    put(tmp_path / "in" / "label_colors.txt", "\n".join(f"{r} {g} {b}\t\t{n}" for n, (r, g, b) in COLORS.items()))
    assert convert(tmp_path / "in", tmp_path / "out").classes == tuple(COLORS)
    assert same(masks_of(tmp_path / "out"), made)


def test_classes_choose_and_order_what_has_names(tmp_path: Path) -> None:
    made = scenes()
    put_images(tmp_path / "in" / "images", made)
    for name, mask in made.items():
        put(tmp_path / "in" / "masks" / f"{name}.png", colored(mask))
    put(tmp_path / "in" / "class_dict.csv", "name,r,g,b\n" + "\n".join(f"{n},{r},{g},{b}" for n, (r, g, b) in COLORS.items()))
    with pytest.raises(DataError, match=r"holds label 3 .* class 'mark', which --classes leaves out; --void 'mark'"):
        convert(tmp_path / "in", tmp_path / "out", Options(classes=("car", "sky", "road")))
    with pytest.raises(SettingError, match=r"class 'rode' is not in the source; did you mean 'road'"):
        convert(tmp_path / "in", tmp_path / "out", Options(classes=("car", "sky", "rode")))
    with pytest.raises(SettingError, match=r"void 'marc' is neither a label nor a class; did you mean 'mark'"):
        convert(tmp_path / "in", tmp_path / "out", Options(void=("marc",)))
    assert not (tmp_path / "out").exists()
    convert(tmp_path / "in", tmp_path / "out", Options(classes=("car", "sky", "road"), void=("mark",)))
    wanted = {name: np.array([1, 2, 0, 255], dtype=np.uint8)[mask] for name, mask in made.items()}
    assert same(masks_of(tmp_path / "out"), wanted)


# --- cityscapes ------------------------------------------------------------------------------------------------------


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
        convert(tmp_path / "in" / "gtFine", tmp_path / "out2", Options(kind="cityscapes"))


# --- coco ------------------------------------------------------------------------------------------------------------

CATEGORIES = [{"id": 90, "name": "toothbrush"}, {"id": 3, "name": "car"}, {"id": 17, "name": "cat"}]


def coco(folder: Path, kind: str) -> Scenes:
    """Rectangles as polygons, packed or plain run lengths; ids with gaps; a small object under a large one in the file."""
    made: Scenes = {}
    images, annotations = [], []
    for number in range(5):
        name = f"{number:012d}"
        put(folder / "val2017" / f"{name}.jpg", photo(number))
        images.append({"id": 1000 + number, "file_name": f"{name}.jpg", "height": HEIGHT, "width": WIDTH})
        mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        small, large, crowd = (slice(5, 9), slice(6, 11)), (slice(3, 15), slice(4, 20)), (slice(12, 20), slice(10, 30))
        for label, category, (rows, columns), is_crowd in ((255, 3, crowd, 1), (1, 3, large, 0), (3, 90, small, 0)):
            mask[rows, columns] = label
            region = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
            region[rows, columns] = 1
            left, top, right, bottom = columns.start, rows.start, columns.stop, rows.stop
            packed = reference.encode(np.asfortranarray(region))
            plain = {"size": [HEIGHT, WIDTH], "counts": plain_counts(region)}
            segmentation = {
                "polygons": [[left, top, right, top, right, bottom, left, bottom]],
                "packed": {"size": packed["size"], "counts": packed["counts"].decode()},
                "plain": plain,
            }[kind if not is_crowd else "plain"]
            annotations.append(
                {"image_id": 1000 + number, "category_id": category, "iscrowd": is_crowd, "segmentation": segmentation}
            )
        made[name] = mask
    # the file's order is not the painting order
    annotations = [{"id": number} | one for number, one in enumerate(reversed(annotations))]
    put(
        folder / "annotations" / "instances_val2017.json",
        {"info": {}, "images": images, "annotations": annotations, "categories": CATEGORIES},
    )
    return made


def plain_counts(region: np.ndarray) -> list[int]:
    counts, last, run = [], 0, 0
    for value in region.T.reshape(-1):
        if value != last:
            counts.append(run)
            last, run = value, 0
        run += 1
    return [*counts, run]


@pytest.mark.parametrize("kind", ["polygons", "packed", "plain"])
@pytest.mark.parametrize("where", ["", "annotations", "annotations/instances_val2017.json"])
def test_coco(tmp_path: Path, kind: str, where: str) -> None:
    made = coco(tmp_path / "in", kind)
    images = tmp_path / "in" / "val2017" if where.endswith("json") else None
    report = convert(tmp_path / "in" / where, tmp_path / "out", Options(images=images))
    assert report.classes == ("background", "car", "cat", "toothbrush")
    assert report.splits == {"val": 5}
    assert same(masks_of(tmp_path / "out"), made)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: c.pop("categories"), "no list 'categories'"),
        (lambda c: c["annotations"][0].update(category_id=5), "annotation 0 of image 1004 has no or an unknown 5"),
        (lambda c: c["annotations"][0].pop("image_id"), "annotation 0 has no or an unknown 'image_id'"),
        (lambda c: c["images"][0].pop("height"), "image 1000 has no id, file_name, height or width"),
        (lambda c: c["annotations"][0].update(segmentation={"size": [2, 2], "counts": [4]}), "run lengths of 2x2 in an image"),
        (lambda c: c["annotations"][0].update(segmentation={"size": [24, 32], "counts": "zzz"}), "an object of .* cannot be read"),
        (lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3, 4, 5, "x"]]), "an object of .* cannot be read"),
        (lambda c: c["images"][0].update(height=10, width=10), "run lengths of 24x32|is 24x32 but its mask"),
        (lambda c: c["images"][0].update(height=10**7, width=10**7), "does not fit into memory|run lengths of 24x32"),
        (lambda c: c.update(images=[]), "none of the 0 images"),
        (lambda c: [image.update(file_name="gone.jpg") for image in c["images"]], "none of the 5 images .*'gone.jpg'"),
    ],
)
def test_broken_coco(tmp_path: Path, spoil: Callable[[dict], None], message: str) -> None:
    coco(tmp_path / "in", "packed")
    path = tmp_path / "in" / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    spoil(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        convert(path, tmp_path / "out", Options(kind="coco", images=tmp_path / "in" / "val2017"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def test_coco_as_roboflow_lays_it_out(tmp_path: Path) -> None:
    """An annotation file beside the images of each split, the same file names in both, a category without a name."""
    corners = [2, 3, 9, 3, 9, 8, 2, 8]
    for number, split in enumerate(("train", "valid")):
        put(tmp_path / "in" / split / "1.jpg", photo(number))
        image = {"file_name": "1.jpg", "height": HEIGHT, "width": WIDTH}
        annotations = [{"id": one, "image_id": one, "category_id": number + 1, "segmentation": [corners]} for one in (5, 6)]
        annotations[1]["segmentation"] = [[part + 10 for part in corners]]
        content = {
            "images": [{"id": 5} | image, {"id": 6} | image],  # listed twice
            "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": " "}],
            "annotations": annotations,
        }
        put(tmp_path / "in" / split / "_annotations.coco.json", content)
    report = convert(tmp_path / "in", tmp_path / "out")
    assert report.classes == ("background", "car", "class_2")
    assert report.splits == {"train": 1, "val": 1}
    masks = masks_of(tmp_path / "out")
    assert {name: sorted(np.unique(mask).tolist()) for name, mask in masks.items()} == {"train_1": [0, 1], "valid_1": [0, 2]}
    assert [int((mask > 0).sum()) for mask in masks.values()] == [70, 70]


def test_coco_classes_go_by_name(tmp_path: Path) -> None:
    made = coco(tmp_path / "in", "packed")
    with pytest.raises(SettingError, match=r"void '90': classes of coco go by their names \(background, car, cat, toothbrush\)"):
        convert(tmp_path / "in", tmp_path / "out", Options(void=("90",)))
    with pytest.raises(DataError, match="class 'background', which --classes leaves out"):
        convert(tmp_path / "in", tmp_path / "out", Options(classes=("toothbrush", "car")))
    convert(tmp_path / "in", tmp_path / "out", Options(classes=("toothbrush", "car"), void=("background",)))
    table = np.full(256, 255, dtype=np.uint8)
    table[[3, 1]] = [0, 1]
    assert same(masks_of(tmp_path / "out"), {name: table[mask] for name, mask in made.items()})


# --- labelme ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("embedded", [False, True])
def test_labelme(tmp_path: Path, embedded: bool) -> None:
    wanted: Scenes = {}
    for number in range(4):
        name = f"p{number}"
        image = photo(number)
        stamp = np.zeros((4, 5), dtype=np.uint8)
        stamp[1:] = 255
        shapes = [
            {"label": "road", "shape_type": "polygon", "points": [[0, 10], [32, 10], [32, 24], [0, 24]]},
            {"label": "car", "shape_type": "rectangle", "points": [[20, 18], [10, 12]]},
            {"label": "_background_", "points": [[11, 13], [13, 13], [13, 15], [11, 15]]},
            {"label": "sun", "shape_type": "circle", "points": [[5, 5], [5, 8]]},
            {"label": "car", "shape_type": "mask", "points": [[25, 2], [29, 5]], "mask": png64(stamp)},
            {"label": "car", "shape_type": "point", "points": [[1, 1]]},
        ]
        mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        mask[10:] = 2
        mask[12:18, 10:20] = 1
        mask[13:15, 11:13] = 0
        y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
        mask[(x - 5) ** 2 + (y - 5) ** 2 <= 9] = 3
        mask[3:6, 25:30] = 1
        wanted[name] = mask
        if not embedded:
            put(tmp_path / "in" / f"{name}.jpg", image)
        data = base64.b64encode(buffer(image, "JPEG")).decode() if embedded else None
        content = {"version": "5.5.0", "shapes": shapes, "imagePath": f"..\\in\\{name}.jpg", "imageData": data}
        put(tmp_path / "in" / f"{name}.json", content | {"imageHeight": HEIGHT, "imageWidth": WIDTH})
    report = convert(tmp_path / "in", tmp_path / "out")
    assert report.kind == "labelme"
    assert report.classes == ("background", "car", "road", "sun")
    assert any("4 shapes, points or lines" in note for note in report.notes)
    assert same(masks_of(tmp_path / "out"), wanted)


def png64(pixels: np.ndarray) -> str:
    return base64.b64encode(buffer(Image.fromarray(pixels), "PNG")).decode()


def buffer(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def test_broken_labelme(tmp_path: Path) -> None:
    shape = {"label": "car", "shape_type": "polygon", "points": [[0, 0], [9, 0], [9, 9]]}
    content = {"shapes": [shape], "imagePath": "a.jpg", "imageHeight": HEIGHT, "imageWidth": WIDTH}
    put(tmp_path / "in" / "b.json", content)
    with pytest.raises(DataError, match=r"no LabelMe file below .* has its image \(such as .*b\.json"):
        convert(tmp_path / "in", tmp_path / "out")
    put(tmp_path / "in" / "b.json", content | {"imageData": "????"})
    with pytest.raises(DataError, match=r"the image inside .*b\.json cannot be read"):
        convert(tmp_path / "in", tmp_path / "out")
    put(tmp_path / "in" / "a.jpg", photo(0))
    put(tmp_path / "in" / "b.json", content | {"shapes": [{"label": "car", "points": [["x", 1]]}]})
    with pytest.raises(DataError, match=r"b\.json cannot be read as LabelMe's"):
        convert(tmp_path / "in", tmp_path / "out")
    put(tmp_path / "in" / "b.json", content | {"shapes": [{"points": []}]})
    with pytest.raises(DataError, match=r"b\.json has a shape without label or points"):
        convert(tmp_path / "in", tmp_path / "out")
    put(tmp_path / "in" / "b.json", content | {"imageHeight": 3})
    with pytest.raises(DataError, match=r"a\.jpg is 24x32 but its mask .*b\.json is 3x32"):
        convert(tmp_path / "in", tmp_path / "out")
    put(tmp_path / "in" / "b.json", '{"shapes": [')
    with pytest.raises(DataError, match=r"cannot read .*b\.json"):
        convert(tmp_path / "in", tmp_path / "out")


# --- supervisely -----------------------------------------------------------------------------------------------------


def test_supervisely(tmp_path: Path) -> None:
    put(tmp_path / "in" / "meta.json", {"classes": [{"title": "road"}, {"title": "car"}, {"title": "bird"}], "tags": []})
    wanted: Scenes = {}
    for number in range(4):
        split, name = ("train", "val")[number % 2], f"p{number}"
        put(tmp_path / "in" / split / "img" / f"{name}.jpg", photo(number))
        stamp = np.zeros((5, 6), dtype=bool)
        stamp[1:4, 2:5] = True
        objects = [
            {
                "classTitle": "road",
                "geometryType": "polygon",
                "points": {"exterior": [[2, 10], [29, 10], [29, 21], [2, 21]], "interior": [[[5, 12], [8, 12], [8, 15], [5, 15]]]},
            },
            {"classTitle": "car", "geometryType": "rectangle", "points": {"exterior": [[10, 12], [14, 17]], "interior": []}},
            {"classTitle": "bird", "geometryType": "bitmap", "bitmap": {"origin": [20, 1], "data": supervisely_bitmap(stamp)}},
            {"classTitle": "car", "geometryType": "line", "points": {"exterior": [[0, 0], [9, 9]], "interior": []}},
        ]
        mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        mask[10:22, 2:30] = 1  # corners are pixels
        mask[12:16, 5:9] = 0
        mask[12:18, 10:15] = 2
        mask[1:6, 20:26][stamp] = 3
        wanted[name] = mask
        put(
            tmp_path / "in" / split / "ann" / f"{name}.jpg.json",
            {"size": {"height": HEIGHT, "width": WIDTH}, "objects": objects},
        )
    report = convert(tmp_path / "in", tmp_path / "out")
    assert report.kind == "supervisely"
    assert report.classes == ("background", "road", "car", "bird")
    assert report.splits == {"train": 2, "val": 2}
    assert any("4 objects, neither" in note for note in report.notes)
    assert same(masks_of(tmp_path / "out"), wanted)
    put(tmp_path / "in" / "meta.json", {"classes": [{"title": "road"}]})
    with pytest.raises(DataError, match=r"p0\.jpg\.json has an object of class 'car', which is not in meta.json"):
        convert(tmp_path / "in", tmp_path / "out2")


def supervisely_bitmap(stamp: np.ndarray) -> str:
    """As the format's documentation does it: a palette PNG with transparent 0, compressed."""
    image = Image.fromarray(stamp.astype(np.uint8))
    image.putpalette([0, 0, 0, 255, 255, 255])
    file = io.BytesIO()
    image.save(file, format="PNG", transparency=0, optimize=0)
    return base64.b64encode(zlib.compress(file.getvalue())).decode()


def test_supervisely_documented_bitmap() -> None:
    from vocseg.convert.readers.supervisely import _region

    data = "eJzrDPBz5+WS4mJgYOD19HAJAtLMIMwIInOeqf8BUmwBPiGuQPr///9Lb86/C2QxlgT5BTM4PLuRBuTwebo4hlTMSa44cOHAB6DqY0yORgq8YkAZBk9XP5d1TglNANAFGzA="  # noqa: E501
    figure = {"geometryType": "bitmap", "bitmap": {"data": data, "origin": [1, 2]}}
    wanted = np.zeros((6, 5), dtype=bool)
    wanted[2:5, 1:4] = [[1, 1, 1], [1, 0, 0], [1, 1, 1]]
    assert np.array_equal(_region(figure, 6, 5), wanted)


# --- label studio ----------------------------------------------------------------------------------------------------


def label_studio(folder: Path) -> Scenes:
    made: Scenes = {}
    tasks: list[dict] = []
    for number in range(4):
        name = f"p {number}"
        put(folder / "images" / f"{name}.jpg", photo(number))
        brushed = np.zeros((HEIGHT, WIDTH), dtype=bool)
        brushed[3:9, 5:20] = True
        size = {"original_height": HEIGHT, "original_width": WIDTH, "image_rotation": 0}
        x, y = 100 / WIDTH, 100 / HEIGHT
        corners = [[8 * x, 12 * y], [24 * x, 12 * y], [24 * x, 20 * y], [8 * x, 20 * y]]
        box = {"x": 10 * x, "y": 14 * y, "width": 4 * x, "height": 3 * y, "rotation": 0}
        result = [
            size | {"type": "brushlabels", "value": {"format": "rle", "rle": label_studio_rle(brushed), "brushlabels": ["sky"]}},
            size | {"type": "polygonlabels", "value": {"points": corners, "closed": True, "polygonlabels": ["car"]}},
            size | {"type": "rectanglelabels", "value": box | {"rectanglelabels": ["sky"]}},
            {"type": "choices", "value": {"choices": ["day"]}},
        ]
        mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        mask[brushed] = 2
        mask[12:20, 8:24] = 1
        mask[14:17, 10:14] = 2
        made[f"p_{number}"] = mask
        url = f"/data/upload/1/0123abcd-{name.replace(' ', '%20')}.jpg" if number else f"/data/local-files/?d=images/{name}.jpg"
        canceled = {"was_canceled": True, "result": []}
        tasks.append({"id": number, "data": {"image": url}, "annotations": [canceled, {"result": result}]})
    tasks.append({"id": 9, "data": {"image": "x.jpg"}, "annotations": []})
    put(folder / "export.json", tasks)
    return made


def test_label_studio(tmp_path: Path) -> None:
    made = label_studio(tmp_path / "in")
    report = convert(tmp_path / "in", tmp_path / "out")
    assert report.kind == "label-studio"
    assert report.classes == ("background", "car", "sky")
    assert any("1 task without annotation" in note for note in report.notes)
    assert same(masks_of(tmp_path / "out"), made)
    tasks = json.loads((tmp_path / "in" / "export.json").read_text())
    tasks[1]["annotations"][1]["result"][0]["value"]["rle"] = [1, 2, 3]
    put(tmp_path / "in" / "export.json", tasks)
    with pytest.raises(DataError, match=r"export\.json, task 1 cannot be read"):
        convert(tmp_path / "in" / "export.json", tmp_path / "out2")


# --- voc, and out of it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"polygons": True}, {"parts": True}, {"polygons": True, "parts": True}])
def test_voc_to_coco_and_back_is_exact(synth: Path, tmp_path: Path, options: dict) -> None:
    convert(synth, tmp_path / "coco", Options(to="coco", **options))
    report = convert(tmp_path / "coco", tmp_path / "voc")
    assert same(masks_of(tmp_path / "voc"), masks_of(synth))
    assert report.classes == VocFolder.find(synth).classes
    for split in ("train", "val", "trainval"):
        assert VocFolder.find(tmp_path / "voc").ids(split) == VocFolder.find(synth).ids(split)
    for name in masks_of(synth):
        assert VocFolder.find(tmp_path / "voc").image(name).read_bytes() == VocFolder.find(synth).image(name).read_bytes()


def test_lists_of_other_names_come_back_from_coco(synth: Path, tmp_path: Path) -> None:
    root = tmp_path / "in"
    shutil.copytree(synth, root)
    ids = VocFolder.find(root).ids("train")
    put(root / voc.SPLITS / "train.txt", "\n".join(ids[:2]))
    put(root / voc.SPLITS / "trainval.txt", "\n".join([*ids[:2], *VocFolder.find(root).ids("val")]))
    put(root / voc.SPLITS / "trainaug.txt", "\n".join(ids))
    convert(root, tmp_path / "coco", Options(to="coco"))
    convert(tmp_path / "coco", tmp_path / "out")
    assert same(masks_of(tmp_path / "out"), masks_of(root))
    assert VocFolder.find(tmp_path / "out").ids("trainaug") == ids


def test_coco_is_read_by_pycocotools(synth: Path, tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    convert(synth, tmp_path / "coco", Options(to="coco", polygons=True, parts=True))
    data = COCO(str(tmp_path / "coco" / "annotations" / "train.json"))
    for image in data.loadImgs(data.getImgIds()):
        mask = read_mask(synth / voc.MASKS / f"{Path(image['file_name']).stem}.png").numpy()
        for one in data.loadAnns(data.getAnnIds(image["id"])):
            region = data.annToMask(one) > 0
            label = 255 if one["iscrowd"] else one["category_id"]
            assert (mask[region] == label).all()
            assert one["area"] == region.sum()
            y, x = np.nonzero(region)
            assert one["bbox"] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]


def test_without_a_background(tmp_path: Path) -> None:
    """Road scenes: every class is in the file, and none is added on the way back."""
    made = scenes(5, 4, void=255)
    put_images(tmp_path / "in" / "images", made)
    for name, mask in made.items():
        put(tmp_path / "in" / "masks" / f"{name}.png", mask)
    given = Options(to="coco", classes=("sky", "road", "car", "cat"))
    convert(tmp_path / "in", tmp_path / "coco", given)
    report = convert(tmp_path / "coco", tmp_path / "voc")
    assert report.classes == given.classes
    assert same(masks_of(tmp_path / "voc"), made)


def test_yolo_polygons_fill_to_the_masks(synth: Path, tmp_path: Path) -> None:
    convert(synth, tmp_path / "yolo", Options(to="yolo"))
    root = tmp_path / "yolo"
    assert 'names:\n  0: "disc"\n' in (root / "data.yaml").read_text()
    assert (root / "val.txt").read_text().splitlines()[0] == "./images/synth_000006.jpg"
    for name, mask in masks_of(synth).items():
        height, width = mask.shape
        back = np.zeros_like(mask)
        for line in (root / "labels" / f"{name}.txt").read_text().splitlines():
            label, *numbers = line.split()
            ring = (np.array(numbers, dtype=float).reshape(-1, 2) * (width, height)).reshape(-1).tolist()
            back[reference.decode(reference.frPyObjects([ring], height, width))[..., 0] > 0] = int(label) + 1
        assert np.array_equal(back, np.where(mask == 255, 0, mask))


def test_voc_to_yolo_and_back_loses_void_alone(synth: Path, tmp_path: Path) -> None:
    convert(synth, tmp_path / "yolo", Options(to="yolo"))
    report = convert(tmp_path / "yolo", tmp_path / "voc")
    assert report.kind == "yolo"
    assert report.classes == VocFolder.find(synth).classes
    assert same(masks_of(tmp_path / "voc"), {name: np.where(mask == 255, 0, mask) for name, mask in masks_of(synth).items()})
    for split in ("train", "val", "trainval"):
        assert VocFolder.find(tmp_path / "voc").ids(split) == VocFolder.find(synth).ids(split)


def test_yolo_as_roboflow_lays_it_out(tmp_path: Path) -> None:
    """Folders train and valid, paths that lead one folder too far up, names as a list, gaps and overlaps."""
    made = scenes(5, 1)
    for number, name in enumerate(made):
        folder = tmp_path / "in" / ("train" if number < 3 else "valid")
        put(folder / "images" / f"{name}.jpg", photo(number))
        if number:  # the first has no text file: background only
            lines = "1 0 0 1 0 1 1 0 1\n0 0.25 0.25 0.5 0.25 0.5 0.5 0.25 0.5\n1 0.5 0.5 0.1 0.1\n\n"
            put(folder / "labels" / f"{name}.txt", lines)
            made[name][:] = 2
            made[name][6:12, 8:16] = 1  # the smaller is on top
    content = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 2\nnames: ['cat', 'dog']\n"
    put(tmp_path / "in" / "data.yaml", content)
    report = convert(tmp_path / "in", tmp_path / "out")
    assert same(masks_of(tmp_path / "out"), made)
    assert report.classes == ("background", "cat", "dog")
    assert report.splits == {"train": 3, "val": 2}
    notes = "\n".join(report.notes)
    assert "left out: 4 boxes" in notes
    assert "1 image without a text file" in notes
    assert "in/test/images" in notes


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("7 0 0 1 0 1 1", r"a.txt, line 1: class 7, but classes are 0 to 1"),
        ("cat 0 0 1 0 1 1", r"a.txt, line 1: 'cat 0 0"),
        ("0 0 0 1 0 1", r"a.txt, line 1: 5 numbers are no polygon"),
        ("0 0 0 1 0 nan 1", r"a.txt, line 1: 6 numbers are no polygon"),
        ("0 0.5 0.5 0.1 0.1", r"hold boxes \(1\), which are for detection"),
    ],
)
def test_broken_yolo(tmp_path: Path, line: str, message: str) -> None:
    put(tmp_path / "in" / "images" / "a.jpg", photo(0))
    put(tmp_path / "in" / "labels" / "a.txt", line)
    put(tmp_path / "in" / "data.yaml", "names: [cat, dog]\n")
    with pytest.raises(DataError, match=message):
        convert(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("names: [cat\n", "is not YAML"),
        ("names: {0: cat, 2: dog}\n", "neither a list of classes"),
        ("names:\n", "neither a list of classes"),
        ("names: [cat]\ntrain: far.txt\n", "far.txt"),
    ],
)
def test_broken_yolo_yaml(tmp_path: Path, content: str, message: str) -> None:
    put(tmp_path / "in" / "images" / "a.jpg", photo(0))
    put(tmp_path / "in" / "data.yaml", content)
    with pytest.raises(DataError, match=message):
        convert(tmp_path / "in" / "data.yaml", tmp_path / "out")


def test_trainaug_takes_masks_from_both_folders(synth: Path, tmp_path: Path) -> None:
    root = tmp_path / "in"
    shutil.copytree(synth, root)
    masks = masks_of(root)
    (root / "SegmentationClassAug").mkdir()
    for moved in [*sorted(masks)[:2], sorted(masks)[-1]]:
        (root / voc.MASKS / f"{moved}.png").rename(root / "SegmentationClassAug" / f"{moved}.png")
    report = convert(root, tmp_path / "out")
    assert same(masks_of(tmp_path / "out"), masks)
    assert "masks of 3 images from SegmentationClassAug, which SegmentationClass lacks" in report.notes
    only = convert(root, tmp_path / "only", Options(masks=Path("SegmentationClassAug")))
    assert only.images == 3


def test_cvat(tmp_path: Path) -> None:
    """VOC layout with colored masks, a labelmap.txt and one list called default."""
    made = scenes()
    put_images(tmp_path / "in" / voc.IMAGES, made)
    for name, mask in made.items():
        put(tmp_path / "in" / voc.MASKS / f"{name}.png", colored(mask))
    put(tmp_path / "in" / voc.SPLITS / "default.txt", "\n".join(made))
    put(
        tmp_path / "in" / "labelmap.txt",
        "# label:color_rgb:parts:actions\n" + "\n".join(f"{n}:{r},{g},{b}::" for n, (r, g, b) in COLORS.items()),
    )
    report = convert(tmp_path / "in", tmp_path / "out")
    assert (report.kind, report.classes, report.splits) == ("voc", tuple(COLORS), {"train": 5, "val": 1})
    assert same(masks_of(tmp_path / "out"), made)


# --- the way in between ----------------------------------------------------------------------------------------------


@pytest.fixture
def roads(tmp_path: Path) -> Path:
    made = scenes(10, 11, void=11)
    put_images(tmp_path / "roads" / "frames", made)
    for name, mask in made.items():
        put(tmp_path / "roads" / "labels" / f"{name}_L.png", mask)
    return tmp_path / "roads"


def test_labels_out_of_range(roads: Path, tmp_path: Path) -> None:
    names = tuple("abcdefghijk")
    message = r"scene_000_L\.png holds label 11 \(48 pixels, the first at x=4, y=21\), which is no class \(classes are 0 to 10\)"
    with pytest.raises(DataError, match=message):
        convert(roads, tmp_path / "out", Options(classes=names))
    assert convert(roads, tmp_path / "out", Options(classes=names, void=("11",))).classes == names


def test_gray_levels_and_binary_masks_are_not_guessed_at(tmp_path: Path) -> None:
    for folder, levels in (("gray", [0, 38, 75, 113]), ("binary", [0, 255, 255, 255]), ("void", [255] * 4)):
        made = scenes(3)
        put_images(tmp_path / folder / "images", made)
        for name, mask in made.items():
            put(tmp_path / folder / "masks" / f"{name}.png", np.array(levels, dtype=np.uint8)[mask])
    with pytest.raises(DataError, match=r"hold 4 labels up to 113 \(0, 38, 75, 113\), which do not count classes"):
        convert(tmp_path / "gray", tmp_path / "out")
    with pytest.raises(DataError, match="hold 0 and 255 only"):
        convert(tmp_path / "binary", tmp_path / "out")
    with pytest.raises(DataError, match=r"every mask of .* is void"):
        convert(tmp_path / "void", tmp_path / "out")
    table = put(tmp_path / "table.csv", "background,0,0,0\nthing,255,255,255\n")
    assert convert(tmp_path / "binary", tmp_path / "out", Options(colors=table)).classes == ("background", "thing")


def test_lists(roads: Path, tmp_path: Path) -> None:
    put(tmp_path / "lists" / "train.txt", "scene_000\nframes/scene_001.jpg labels/scene_001_L.png\n")
    put(tmp_path / "lists" / "val.txt", "/some/where/scene_002.jpg\n")
    report = convert(roads, tmp_path / "out", Options(splits=str(tmp_path / "lists")))
    assert report.splits == {"train": 2, "val": 1}
    assert report.images == 3
    assert any("7 images in no split" in note for note in report.notes)
    put(tmp_path / "lists" / "val.txt", "scene_02\n")
    with pytest.raises(DataError, match=r"val\.txt names 'scene_02', which is no image with a mask; did you mean 'scene_00"):
        convert(roads, tmp_path / "out2", Options(splits=str(tmp_path / "lists")))
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds no split list"):
        convert(roads, tmp_path / "out2", Options(splits=str(tmp_path / "none")))
    with pytest.raises(SettingError, match="splits 'nowhere' is neither"):
        convert(roads, tmp_path / "out2", Options(splits="nowhere"))


def test_shares_and_seeds(roads: Path, tmp_path: Path) -> None:
    one, two, three = (
        convert(roads, tmp_path / f"out{number}", Options(splits="0.6/0.2/0.2", seed=seed, void=("11",)))
        for number, seed in enumerate((1, 1, 2))
    )
    assert one.splits == two.splits == three.splits == {"train": 6, "val": 2, "test": 2}
    lists = [(tmp_path / f"out{number}" / voc.SPLITS / "train.txt").read_text() for number in range(3)]
    assert lists[0] == lists[1] != lists[2]


def test_near_duplicates_stay_together(tmp_path: Path) -> None:
    made = scenes(16)
    for number, (name, mask) in enumerate(made.items()):
        image = photo(number // 2).point(lambda value, more=number % 2: min(255, value + 6 * more))
        put(tmp_path / "in" / "images" / f"{name}.jpg", image)
        put(tmp_path / "in" / "masks" / f"{name}.png", mask)
    report = convert(tmp_path / "in", tmp_path / "out")
    assert "near-duplicates: 16 images in 8 groups" in report.notes
    val = VocFolder.find(tmp_path / "out").ids("val")
    assert len(val) == 4
    assert {int(name[-3:]) // 2 for name in val[::2]} == {int(name[-3:]) // 2 for name in val[1::2]}


def test_all_alike(tmp_path: Path) -> None:
    for name, mask in scenes(5).items():
        put(tmp_path / "in" / "images" / f"{name}.jpg", photo(0))
        put(tmp_path / "in" / "masks" / f"{name}.png", mask)
    report = convert(tmp_path / "in", tmp_path / "out")
    assert report.splits == {"train": 4, "val": 1}
    assert any("all images resemble each other" in note for note in report.notes)


def test_sizes_and_unreadable_files(roads: Path, tmp_path: Path) -> None:
    mask = roads / "labels" / "scene_003_L.png"
    content = mask.read_bytes()
    put(mask, np.zeros((5, 5), dtype=np.uint8))
    with pytest.raises(DataError, match=r"scene_003\.jpg is 24x32 but its mask .*scene_003_L\.png is 5x5"):
        convert(roads, tmp_path / "out")
    mask.write_bytes(content[:60])
    with pytest.raises(DataError, match=r"cannot decode mask .*scene_003_L\.png"):
        convert(roads, tmp_path / "out")
    mask.write_bytes(content)
    shot = roads / "frames" / "scene_004.jpg"
    shot.write_bytes(shot.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"scene_004\.jpg"):
        convert(roads, tmp_path / "out")
    shot.unlink()
    report = convert(roads, tmp_path / "out")
    assert report.images == 9
    assert any("1 mask of" in note and "without an image (scene_004_L.png)" in note for note in report.notes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "roads"]


def test_an_interrupted_conversion_leaves_nothing(roads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vocseg.convert import writers

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writers.VocWriter, "finish", stop)
    with pytest.raises(KeyboardInterrupt):
        convert(roads, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["roads"]


def test_out_must_be_new_or_empty(roads: Path, tmp_path: Path) -> None:
    put(tmp_path / "out" / "mine.txt", "precious")
    with pytest.raises(OutputError, match="out is not an empty folder"):
        convert(roads, tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "precious"
    with pytest.raises(OutputError, match="is not an empty folder"):
        convert(roads, tmp_path / "out" / "mine.txt")
    (tmp_path / "empty").mkdir()
    convert(roads, tmp_path / "empty")
    with pytest.raises(OutputError):
        convert(roads, roads)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "does not exist"),
        (lambda root: root.mkdir(), "no images below"),
        (lambda root: put(root / "images" / "a.jpg", photo(0)), "images, but no masks, below"),
        (lambda root: [put(root / f / "a.jpg", photo(0)) for f in ("x", "y", "z")], r"cannot tell .* \(folders: x, y, z\)"),
        (lambda root: [put(root / "images" / "a.jpg", photo(0)), put(root / "masks" / "qqq7.png", photo(0)),
                       put(root / "images" / "b.jpg", photo(0)), put(root / "masks" / "zzz8.png", photo(0))],
         r"no mask in .*masks is called like an image in .*images \(images: .*; masks: qqq7"),
        (lambda root: [put(root / f / "a.png", np.zeros((24, 32), dtype=np.uint8)) for f in ("images", "masks", "labels")],
         "have masks in several folders"),
        (lambda root: put(root, "no json"), "neither COCO's JSON, Label Studio's"),
        (lambda root: put(root / "a.json", {"what": 1}), "no images below"),
    ],
)  # fmt: skip
def test_what_is_no_data_set(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    make(tmp_path / "in")
    with pytest.raises(VocsegError, match=message):
        convert(tmp_path / "in", tmp_path / "out")


@pytest.mark.real_voc
def test_real_voc_to_coco_and_back(real_voc: Path, tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    folder = VocFolder.find(real_voc)
    put(lists / "val.txt", "\n".join(folder.ids("val_2007")[:25]))
    convert(real_voc, tmp_path / "coco", Options(to="coco", splits=str(lists)))
    convert(tmp_path / "coco", tmp_path / "voc")
    masks = masks_of(tmp_path / "voc")
    assert len(masks) == 25
    assert all(np.array_equal(mask, read_mask(folder.mask(name)).numpy()) for name, mask in masks.items())


@pytest.mark.parametrize(
    ("classes", "images", "hint"),
    [
        (("class_0", "class_1", "class_2", "class_3"), (9, 9, 0, 4), True),
        (("class_0", "class_1", "class_2"), (9, 9, 4), False),
        (("class_0", "class_1", "class_2"), (9, 0, 0), False),
        (("road", "sky", "sign"), (9, 0, 4), False),
    ],
)
def test_a_label_apart_may_be_void(classes: tuple[str, ...], images: tuple[int, ...], hint: bool) -> None:
    lines = Report("folders", "roads", 9, classes, images, images, 0.0, {"train": 9}).describe()
    assert ("label 3 stands apart from the others; where it means no class: --void 3" in lines) == hint


def in_folders(root: Path, made: Scenes) -> Path:
    put_images(root / "images", made)
    for name, mask in made.items():
        put(root / "masks" / f"{name}.png", mask)
    return root


def test_binary_masks_are_not_guessed_at_when_classes_are_named(tmp_path: Path) -> None:
    made = {name: np.where(mask > 0, 255, 0).astype(np.uint8) for name, mask in scenes().items()}
    with pytest.raises(DataError, match="hold 0 and 255 only"):
        convert(in_folders(tmp_path / "in", made), tmp_path / "out", Options(classes=("background", "car")))
    assert not (tmp_path / "out").exists()


def test_two_images_of_one_name(tmp_path: Path) -> None:
    root = in_folders(tmp_path / "in", scenes())
    twin = next((root / "images").iterdir())
    put(twin.with_suffix(".png"), photo(9))
    with pytest.raises(DataError, match="have one name; which is meant"):
        convert(root, tmp_path / "out")


def test_out_inside_the_source_is_refused(tmp_path: Path) -> None:
    root = in_folders(tmp_path / "in", scenes())
    with pytest.raises(OutputError, match="lies inside"):
        convert(root, root / "out")


def test_classes_too_rare_for_a_split_and_classes_of_nothing_are_named(tmp_path: Path) -> None:
    made = scenes(labels=3)
    next(iter(made.values()))[0, 0] = 3
    report = convert(in_folders(tmp_path / "in", made), tmp_path / "out", Options(classes=("road", "sky", "Void", "sign")))
    lines = "\n".join(report.describe())
    assert re.search(r"not in (train|val), of so few images: sign \(1\)", lines)
    assert "where it means no class: --void Void" in lines


def test_names_with_a_byte_order_mark(tmp_path: Path) -> None:
    root = in_folders(tmp_path / "in", scenes(labels=3))
    (root / "classes.txt").write_text("road\nsky\ncar\n", encoding="utf-8-sig")
    assert convert(root, tmp_path / "out").classes == ("road", "sky", "car")
