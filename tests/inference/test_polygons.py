"""Simplified polygons in every format: the same borders in all, and what was lost is said."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vocseg
from convert.scenes import masks_of
from vocseg.convert.outlines import Traced, cut_open, filled, trace
from vocseg.convert.simplify import simplified
from vocseg.data.image_io import read_mask
from vocseg.data.samples import FOLDER
from vocseg.errors import SettingError
from vocseg.inference.formats import SINKS, open_sinks
from vocseg.inference.polygons import Polygons
from vocseg.inference.result import Segmentation
from vocseg.inference.sources import Item
from vocseg.models import ModelInfo

INFO = ModelInfo("test", ("background", "zebra", "cat"))
FORMATS = ("coco", "labelme", "yolo", "geojson", "cvat", "label-studio")
CHELSEA = FOLDER / "JPEGImages" / "chelsea.jpg"


def _mask() -> np.ndarray:
    y, x = np.mgrid[:60, :80]
    mask = np.zeros((60, 80), np.uint8)
    mask[(y - 30) ** 2 + (x - 25) ** 2 < 20**2] = 1
    mask[(y - 35) ** 2 + (x - 48) ** 2 < 17**2] = 2
    mask[(y - 28) ** 2 + (x - 20) ** 2 < 7**2] = 0
    mask[(y - 36) ** 2 + (x - 50) ** 2 < 5**2] = 1
    return mask


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mask in all formats, simplified by 1.5 pixels."""
    folder = tmp_path_factory.mktemp("polygons")
    path, mask, polygons = folder / "images" / "0.png", _mask(), Polygons(INFO, 1.5)
    path.parent.mkdir()
    (folder / "splits").mkdir()
    (folder / "splits" / "train.txt").write_text("0\n")
    Image.fromarray(np.dstack([mask] * 3)).save(path)
    (folder / "out").mkdir()
    sinks = open_sinks([SINKS[name] for name in FORMATS], folder / "out", INFO, 0.5, polygons)
    result = Segmentation(torch.zeros(3, *mask.shape, dtype=torch.uint8), torch.from_numpy(mask), INFO, path)
    for sink in sinks:
        sink.write(result, Item(path, Path(path.name), output=Path("0")))
        sink.close()
    loss = polygons.loss()
    assert loss is not None
    assert loss.corners[1] < loss.corners[0] / 2
    assert 0.9 < loss.miou < 1
    return folder / "out"


def _simplified() -> Traced:
    return simplified(trace(_mask()), (60, 80), 1.5)


def _rings() -> set[str]:
    """Each region's ring, with its holes cut open."""
    parts = (part for label, parts in _simplified().items() if label for part in parts)
    return {str(cut_open(part.outline, part.holes).tolist()) for part in parts}


@pytest.mark.parametrize("name", ["coco.json", "yolo", "label-studio.json"])
def test_all_formats_have_the_same_polygons(out: Path, name: str) -> None:
    images = None if name == "yolo" else out.parent / "images"
    target = out.parent / f"voc-{name}"
    vocseg.convert(out / name, target, images=images, classes=out / "classes.txt", splits=out.parent / "splits", allow_skipped=True)
    differ = masks_of(target)["0"] != filled(_simplified(), 80, range(60))
    # Rounded shares of the size put some centers that are exactly on a border on the other side of it.
    assert differ.sum() <= (0 if name == "coco.json" else 20)


def test_labelme_differs_only_beside_borders(out: Path) -> None:
    target = out.parent / "voc-labelme"
    vocseg.convert(out / "labelme", target, images=out.parent / "images", classes=out / "classes.txt", splits=out.parent / "splits")
    found, mask = masks_of(target)["0"], filled(_simplified(), 80, range(60))
    assert (found == mask).mean() > 0.95
    padded = np.pad(mask, 1, mode="edge")
    near = np.stack([padded[1 + dy : 61 + dy, 1 + dx : 81 + dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    assert (near != mask).any(0)[found != mask].all()


def test_geojson_and_cvat(out: Path) -> None:
    rings = set()
    for feature in json.loads((out / "0.geojson").read_text())["features"]:
        outline, *holes = ([*map(tuple, ring[:-1])] for ring in feature["geometry"]["coordinates"])
        rings.add(str(cut_open(np.array(outline), [np.array(hole) for hole in holes]).tolist()))
        assert feature["properties"]["pixels"] in [part.area for parts in trace(_mask()).values() for part in parts]
    assert rings == _rings()
    [image] = ElementTree.parse(out / "cvat.xml").getroot().findall("image")
    points = [[[int(part) for part in point.split(",")] for point in polygon.get("points", "").split(";")] for polygon in image]
    assert set(map(str, points)) == _rings()


def test_result_from_python() -> None:
    mask = torch.from_numpy(_mask())
    result = Segmentation(torch.zeros(3, 60, 80, dtype=torch.uint8), mask, INFO)
    exact, fewer = result.polygons(), result.polygons(simplify=1.5)
    assert [(row["class"], row["area"], len(row["holes"])) for row in fewer] == [
        (row["class"], row["area"], len(row["holes"])) for row in exact
    ]
    assert sum(len(row["polygon"]) for row in fewer) < sum(len(row["polygon"]) for row in exact) / 2
    assert result.regions().keys() == {0, 1, 2}
    with pytest.raises(SettingError, match="simplify is -1"):
        result.polygons(simplify=-1)


def test_simplify_needs_polygons(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"simplify \(--simplify\) 1 needs a format of polygons \(--format\): coco, labelme"):
        vocseg.predict(CHELSEA, tmp_path, formats=["mask"], simplify=1)


def test_the_command_line_says_what_was_lost(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, out, _ = run(
        "predict",
        CHELSEA,
        "--out",
        tmp_path,
        "--format",
        "mask",
        "--format",
        "geojson",
        "--simplify",
        1,
        "--json",
        tmp_path / "a.json",
    )
    assert code == 0
    found = json.loads((tmp_path / "a.json").read_text())["simplified"]
    line = f"polygons simplified by up to 1 px: {found['corners']['before']:,} corners became {found['corners']['after']:,}"
    assert line in " ".join(out.split())
    assert found["corners"]["after"] < found["corners"]["before"] / 2
    # The share of pixels that the written polygons, filled, give back.
    mask = read_mask(tmp_path / "chelsea.png").numpy()
    polygons = simplified(trace(mask), mask.shape, 1)
    matrix = vocseg.ConfusionMatrix(21)
    matrix.update(filled(polygons, mask.shape[1], range(len(mask))), mask)
    assert found["miou"] == pytest.approx(matrix.compute().miou)
