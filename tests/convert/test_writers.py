"""Round trips through COCO and YOLO, and what pycocotools reads from the files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as reference

from convert.scenes import masks_of, put, put_images, same, scenes
from vocseg import voc
from vocseg.convert import convert
from vocseg.convert.outlines import filled, trace
from vocseg.convert.simplify import simplified
from vocseg.data.image_io import read_mask
from vocseg.data.layout import VocFolder
from vocseg.errors import SettingError


@pytest.mark.parametrize(
    "options", [{}, {"segments": "polygons"}, {"objects": "parts"}, {"segments": "polygons", "objects": "parts"}]
)
def test_voc_to_coco_and_back_is_exact(synth: Path, tmp_path: Path, options: dict) -> None:
    convert(synth, tmp_path / "coco", to="coco", **options)
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
    convert(root, tmp_path / "coco", to="coco")
    convert(tmp_path / "coco", tmp_path / "out")
    assert same(masks_of(tmp_path / "out"), masks_of(root))
    assert VocFolder.find(tmp_path / "out").ids("trainaug") == ids


def test_coco_is_read_by_pycocotools(synth: Path, tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    convert(synth, tmp_path / "coco", to="coco", segments="polygons", objects="parts")
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
    given = ("sky", "road", "car", "cat")
    convert(tmp_path / "in", tmp_path / "coco", to="coco", classes=given)
    report = convert(tmp_path / "coco", tmp_path / "voc")
    assert report.classes == given
    assert same(masks_of(tmp_path / "voc"), made)


def test_yolo_polygons_fill_to_the_masks(synth: Path, tmp_path: Path) -> None:
    convert(synth, tmp_path / "yolo", to="yolo")
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
    convert(synth, tmp_path / "yolo", to="yolo")
    report = convert(tmp_path / "yolo", tmp_path / "voc")
    assert report.kind == "yolo"
    assert report.classes == VocFolder.find(synth).classes
    assert same(masks_of(tmp_path / "voc"), {name: np.where(mask == 255, 0, mask) for name, mask in masks_of(synth).items()})
    for split in ("train", "val", "trainval"):
        assert VocFolder.find(tmp_path / "voc").ids(split) == VocFolder.find(synth).ids(split)


@pytest.mark.parametrize(
    "options", [{"to": "coco", "segments": "polygons"}, {"to": "coco", "segments": "polygons", "objects": "parts"}]
)
def test_simplified_coco_is_without_gaps(synth: Path, tmp_path: Path, options: dict) -> None:
    report = convert(synth, tmp_path / "out", simplify=2, **options)
    convert(tmp_path / "out", tmp_path / "voc")
    exact, found = masks_of(synth), masks_of(tmp_path / "voc")
    expected = {
        name: filled(simplified(trace(mask), mask.shape, 2), mask.shape[1], range(len(mask))) for name, mask in exact.items()
    }
    assert same(found, expected)
    assert not same(found, exact)
    assert any(str(note).startswith("polygons simplified by up to 2 px: ") for note in report.notes)


@pytest.mark.parametrize(("to", "agreement"), [("yolo", 0.97), ("labelme", 0.9)])
def test_simplified_yolo_and_labelme(synth: Path, tmp_path: Path, to: Any, agreement: float) -> None:
    convert(synth, tmp_path / "out", to=to, simplify=1)
    names = None if to == "yolo" else tmp_path / "out" / "classes.txt"
    convert(tmp_path / "out", tmp_path / "voc", classes=names)
    exact, found = masks_of(synth), masks_of(tmp_path / "voc")
    right = [(found[name] == mask)[mask != voc.VOID].mean() for name, mask in exact.items()]
    assert np.mean(right) > agreement


def test_simplify_needs_polygons(synth: Path, tmp_path: Path) -> None:
    for options in ({"to": "voc"}, {"to": "coco"}):
        with pytest.raises(
            SettingError, match=r"simplify \(--simplify\) 1 needs polygons: yolo, labelme, or coco with segments=polygons"
        ):
            convert(synth, tmp_path / "out", simplify=1, **options)  # type: ignore[arg-type]


@pytest.mark.real_voc
def test_real_voc_to_coco_and_back(real_voc: Path, tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    folder = VocFolder.find(real_voc)
    put(lists / "val.txt", "\n".join(folder.ids("val_2007")[:25]))
    convert(real_voc, tmp_path / "coco", to="coco", splits=str(lists))
    convert(tmp_path / "coco", tmp_path / "voc")
    masks = masks_of(tmp_path / "voc")
    assert len(masks) == 25
    assert all(np.array_equal(mask, read_mask(folder.mask(name)).numpy()) for name, mask in masks.items())
