"""What is written is the mask: polygons come back to the same pixels through `convert`, holes included."""

from __future__ import annotations

import csv
import io
import itertools
import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, TiffImagePlugin

import vocseg
from convert.scenes import masks_of
from vocseg.convert.regions import fill
from vocseg.data.samples import FOLDER
from vocseg.inference.formats import SINKS, open_sinks
from vocseg.inference.polygon_sinks import write_classes
from vocseg.inference.polygons import Polygons
from vocseg.inference.result import Segmentation
from vocseg.inference.sinks import Sink
from vocseg.inference.sources import Item
from vocseg.models import ModelInfo

CLASSES = ("background", "zebra", "cat", "<&\"dog'")
INFO = ModelInfo("test", CLASSES)
MASKS = arrays(np.uint8, st.tuples(st.integers(2, 12), st.integers(2, 12)), elements=st.sampled_from([0, 1, 2, 3]))


def written(masks: list[np.ndarray], folder: Path, *formats: str) -> Path:
    """Write masks of images of noise; returns the folder of the images."""
    images, out = folder / "images", folder / "out"
    images.mkdir()
    out.mkdir()
    sinks = open_sinks([SINKS[name] for name in formats], out, INFO, 0.5, Polygons(INFO))
    for number, mask in enumerate(masks):
        path = images / f"{number}.png"
        noise = np.random.default_rng(number).integers(0, 255, (*mask.shape, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        result = Segmentation(torch.from_numpy(noise).permute(2, 0, 1), torch.from_numpy(mask), INFO, path)
        for sink in sinks:
            sink.write(result, Item(path, Path(path.name), output=Path(str(number))))
    for sink in sinks:
        sink.close()
    return images


@pytest.mark.parametrize("name", ["coco.json", "labelme", "yolo", "label-studio.json"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(masks=st.lists(MASKS, min_size=3, max_size=4))
def test_polygons_come_back_to_every_pixel(tmp_path_factory: pytest.TempPathFactory, name: str, masks: list[np.ndarray]) -> None:
    folder = tmp_path_factory.mktemp("sinks")
    ring = np.ones((9, 9), np.uint8)
    ring[2:7, 2:7], ring[4, 4] = 0, 2
    images = written([ring, *masks], folder, Path(name).stem)
    source, classes = folder / "out" / name, folder / "out" / "classes.txt"
    given_images = None if name == "yolo" else images
    vocseg.convert(source, folder / "voc", images=given_images, classes=classes, splits=(0.5, 0.5), allow_skipped=True)
    found = masks_of(folder / "voc")
    assert len(found) == 1 + len(masks)
    for number, mask in enumerate([ring, *masks]):
        assert np.array_equal(found[str(number)], mask), number


@settings(max_examples=40, deadline=None)
@given(mask=MASKS)
def test_geojson_and_cvat_fill_to_the_mask(tmp_path_factory: pytest.TempPathFactory, mask: np.ndarray) -> None:
    folder = tmp_path_factory.mktemp("sinks")
    written([mask], folder, "geojson", "cvat")
    features = json.loads((folder / "out" / "0.geojson").read_text())["features"]
    found = np.zeros_like(mask)
    for feature in features:
        outline, *holes = feature["geometry"]["coordinates"]
        area = sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in itertools.pairwise(outline))
        assert area > 0  # RFC 7946: counterclockwise
        pixels = filled(outline[:-1], mask.shape)
        for hole in holes:
            pixels &= ~filled(hole[:-1], mask.shape)
        assert pixels.sum() == feature["properties"]["pixels"]
        found[pixels] = feature["properties"]["id"]
    assert np.array_equal(found, mask)
    [image] = ElementTree.parse(folder / "out" / "cvat.xml").getroot().findall("image")
    found = np.zeros_like(mask)
    for polygon in image.findall("polygon"):
        ring = [tuple(map(float, point.split(","))) for point in polygon.get("points", "").split(";")]
        found[filled(ring, mask.shape)] = CLASSES.index(polygon.get("label", ""))
    assert np.array_equal(found, mask)
    assert (image.get("width"), image.get("height")) == (str(mask.shape[1]), str(mask.shape[0]))


def filled(ring: list, shape: tuple[int, ...]) -> np.ndarray:
    region = fill(ring, *shape)
    pixels = np.zeros(shape, dtype=bool)
    pixels[region.box] = region.pixels
    return pixels


@pytest.fixture(scope="module")
def segment() -> vocseg.Segmenter:
    return vocseg.Segmenter(device="cpu", precision="float32")


def test_cutouts_probabilities_and_areas(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    path = FOLDER / "JPEGImages" / "chelsea.jpg"
    formats = ["cutout", "probabilities", "areas"]
    for _ in range(2):  # outputs of an earlier call are replaced
        result = vocseg.predict(path, tmp_path, model=segment, formats=formats)  # type: ignore[arg-type]
    [row] = result.images
    assert (row.mask, row.overlay, row.files) == (None, None, (tmp_path / "chelsea_cutout.png", tmp_path / "chelsea.npz"))
    assert result.to_dict()["files"] == [str(tmp_path / "areas.csv")]
    one = segment(path)
    cutout = np.array(Image.open(tmp_path / "chelsea_cutout.png"))
    assert np.array_equal(cutout[..., 3] == 255, one.mask.numpy() != 0)
    assert np.array_equal(cutout[..., :3], one.image.permute(1, 2, 0).numpy())
    with np.load(tmp_path / "chelsea.npz") as stored:
        assert stored["probabilities"].dtype == np.float16
        assert np.abs(stored["probabilities"] - one.probabilities().numpy()).max() < 1e-3
        assert tuple(stored["classes"]) == segment.info.classes
    rows = list(csv.DictReader(io.StringIO((tmp_path / "areas.csv").read_text())))
    assert {row["class"]: float(row["share"]) for row in rows} == pytest.approx(one.areas(), rel=1e-5)
    assert {int(row["id"]): int(row["pixels"]) for row in rows} == {
        int(label): int(count) for label, count in zip(*np.unique(one.mask.numpy(), return_counts=True), strict=True)
    }


def test_probabilities_are_of_the_pass_that_made_the_mask(
    segment: vocseg.Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes, run = [], segment.run
    monkeypatch.setattr(segment, "run", lambda *arguments: passes.append(1) or run(*arguments))
    paths = sorted((FOLDER / "JPEGImages").glob("c*.jpg"))
    paths += [Path(shutil.copy(path, tmp_path / f"again_{path.name}")) for path in paths]
    for batch_size in (1, 8):
        passes.clear()
        vocseg.predict(paths, tmp_path / "out", model=segment, formats=["mask", "probabilities"], batch_size=batch_size)
        assert len(passes) == 4 // min(2, batch_size)
    for file in sorted((tmp_path / "out").glob("*.npz")):
        with np.load(file) as stored:
            mask = np.array(Image.open(file.with_suffix(".png")))
            chosen = np.take_along_axis(stored["probabilities"], mask[None].astype(int), 0)[0]
            assert (chosen >= stored["probabilities"].max(0) - 1e-3).all()


def test_every_format_at_once_and_again(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    photographs = FOLDER / "JPEGImages"
    formats: list[Any] = [name for name in SINKS if name != "mask-video"]  # the same masks as mask
    for _ in range(2):
        result = vocseg.predict(photographs, tmp_path / "out", model=segment, formats=formats)
        result.check()
    for row in result.images:
        assert all(file.is_file() for file in (row.mask, row.overlay, *row.files) if file)
    labelme = json.loads((tmp_path / "out" / "labelme" / "chelsea.json").read_text())
    assert (tmp_path / "out" / "labelme" / labelme["imagePath"]).resolve() == (photographs / "chelsea.jpg").resolve()
    for name in ("coco.json", "labelme", "label-studio.json"):
        classes = tmp_path / "out" / "classes.txt"
        vocseg.convert(tmp_path / "out" / name, tmp_path / name, images=photographs, classes=classes, splits=(0.5, 0.5))
        for row in result.images:
            found = masks_of(tmp_path / name)[Path(row.image).stem]
            assert np.array_equal(found, np.array(Image.open(row.mask)))  # type: ignore[arg-type]


def test_foreign_files_stay(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    photograph = FOLDER / "JPEGImages" / "chelsea.jpg"
    for name, kind in (("areas.csv", "areas"), ("cvat.xml", "cvat"), ("chelsea.npz", "probabilities"), ("yolo/data.yaml", "yolo")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
        with pytest.raises(vocseg.OutputError, match="vocseg did not write it"):
            vocseg.predict(photograph, tmp_path, model=segment, formats=[kind])  # type: ignore[list-item]
    (tmp_path / "classes.txt").write_text("mine")
    with pytest.raises(vocseg.OutputError, match=r"classes\.txt: it exists with other classes"):
        write_classes(tmp_path, INFO)


def test_a_sink_of_ones_own(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    seen = []

    class Mine(Sink):
        def write(self, result: Segmentation, item: Item) -> None:
            seen.append((item.relative, result.areas()))

        def close(self) -> None:
            seen.append("closed")

    vocseg.predict(FOLDER / "JPEGImages" / "c*.jpg", tmp_path, model=segment, formats=[Mine])
    assert [one[0] for one in seen[:2]] == [Path("camera.jpg"), Path("chelsea.jpg")]
    assert seen[2:] == ["closed"]
    with pytest.raises(vocseg.SettingError, match="formats must be"):
        vocseg.predict(FOLDER / "JPEGImages", tmp_path, model=segment, formats=["masks"])  # type: ignore[list-item]


@pytest.mark.parametrize("is_point", [False, True])
def test_geojson_of_a_geotiff_is_in_its_coordinates(tmp_path: Path, is_point: bool) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, kind, values in (
        (33550, 12, (2.0, 2.0, 0.0)),
        (33922, 12, (0.0, 0.0, 0.0, 500000.0, 4000000.0, 0.0)),
        (34735, 3, (1, 1, 0, 2, 1025, 0, 1, 1 + is_point, 3072, 0, 1, 32632)),
    ):
        tags.tagtype[tag] = kind
        tags[tag] = values
    path = tmp_path / "a.tif"
    Image.new("RGB", (8, 6)).save(path, tiffinfo=tags)
    mask = torch.zeros(6, 8, dtype=torch.uint8)
    mask[1:3, 2:5] = 1
    sink = SINKS["geojson"](tmp_path, INFO)
    sink.write(Segmentation(torch.zeros(3, 6, 8, dtype=torch.uint8), mask, INFO, path), Item(path, Path("a.tif"), output=Path("a")))
    content = json.loads((tmp_path / "a.geojson").read_text())
    assert content["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32632"
    [ring] = content["features"][0]["geometry"]["coordinates"]
    shift = -1 if is_point else 0
    assert min(ring) == [500004 + shift, 3999994 - shift]
    assert max(ring) == [500010 + shift, 3999998 - shift]
    assert sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in itertools.pairwise(ring)) > 0
