from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import vocseg
from vocseg.convert.outlines import trace
from vocseg.data.image_io import read_mask
from vocseg.data.samples import FOLDER
from vocseg.errors import DataError, SettingError
from vocseg.inference.formats import SINKS, open_sinks
from vocseg.inference.polygons import Polygons
from vocseg.inference.result import Segmentation
from vocseg.inference.sources import Item

CHELSEA = FOLDER / "JPEGImages" / "chelsea.jpg"


@pytest.fixture(scope="module")
def segmenter() -> vocseg.Segmenter:
    torch.manual_seed(0)
    return vocseg.Segmenter("two_layer_net", device="cpu", precision="float32")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    Image.open(CHELSEA).resize((90, 66)).save(tmp_path / "small.png")
    return tmp_path / "small.png"


@pytest.fixture
def few_pixels() -> Iterator[None]:
    vocseg.set_max_pixels(1000)
    yield
    vocseg.set_max_pixels(100_000_000)


def test_tiles_of_images(segmenter: vocseg.Segmenter, tmp_path: Path) -> None:
    done = vocseg.predict(CHELSEA, tmp_path, model=segmenter, tile=128, overlap=32)
    [row] = done.images
    assert row.mask == tmp_path / "chelsea.png"
    assert row.overlay == tmp_path / "chelsea_overlay.jpg"
    assert row.notes[0].startswith("segmented at full size in 15 tiles of 128 pixels that overlap by 32")
    assert (read_mask(row.mask) == segmenter(CHELSEA).mask).float().mean() > 0.97
    assert sum(row.areas.values()) == pytest.approx(1)


def test_images_of_any_source_are_tiled(segmenter: vocseg.Segmenter, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.write(CHELSEA, "chelsea.jpg")
    done = vocseg.predict(tmp_path / "photos.zip", tmp_path / "out", model=segmenter, tile=128, overlay=False)
    assert [row.mask for row in done.images] == [tmp_path / "out" / "chelsea.png"]


def test_one_image_that_fails_is_skipped(segmenter: vocseg.Segmenter, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = vocseg.predict([tmp_path / "broken.png", CHELSEA], tmp_path / "out", model=segmenter, tile=256)
    assert [row.name for row in done.images] == ["chelsea.jpg"]
    assert list(done.errors) == [tmp_path / "broken.png"]


def test_existing_results_are_skipped(segmenter: vocseg.Segmenter, tmp_path: Path) -> None:
    options = {"model": segmenter, "tile": 256, "skip_existing": True}
    assert len(vocseg.predict(CHELSEA, tmp_path, **options).images) == 1
    again = vocseg.predict(CHELSEA, tmp_path, **options)
    assert (len(again.images), again.existing) == (0, 1)


@pytest.mark.parametrize("name", ["cutout", "probabilities", "labelme", "yolo"])
def test_formats_that_need_all_pixels_are_refused(segmenter: vocseg.Segmenter, tmp_path: Path, name: Any) -> None:
    formats = "mask, overlay, areas, coco, geojson, cvat, label-studio"
    with pytest.raises(SettingError, match=rf"in tiles \(tile, --tile\), formats are {formats}, not {name}, which needs all"):
        vocseg.predict(CHELSEA, tmp_path, model=segmenter, tile=256, formats=["mask", name])


def test_shared_files_are_not_made_of_existing_masks(segmenter: vocseg.Segmenter, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"coco.json cannot be made from existing masks; leave out --skip-existing"):
        vocseg.predict(CHELSEA, tmp_path, model=segmenter, tile=256, formats=["mask", "coco"], skip_existing=True)


@pytest.mark.parametrize("simplify", [0, 1])
def test_formats_say_what_the_mask_says(segmenter: vocseg.Segmenter, small: Path, tmp_path: Path, simplify: float) -> None:
    formats: list[Any] = ["mask", "areas", "coco", "geojson", "cvat", "label-studio"]
    options: dict[str, Any] = {"model": segmenter, "formats": formats, "simplify": simplify}
    done = vocseg.predict(small, tmp_path / "tiles", tile=64, overlap=32, **options)
    [row] = done.images
    assert (row.mask, row.files) == (tmp_path / "tiles" / "small.png", (tmp_path / "tiles" / "small.geojson",))
    mask = read_mask(tmp_path / "tiles" / "small.png")
    # What a mask of one piece gives, whatever its network.
    one = Segmentation(torch.zeros(3, *mask.shape, dtype=torch.uint8), mask, segmenter.info, small)
    polygons = Polygons(segmenter.info, simplify)
    (tmp_path / "one").mkdir()
    for sink in open_sinks([SINKS[name] for name in formats], tmp_path / "one", segmenter.info, 0.5, polygons):
        sink.write(one, Item(small, Path("small.png"), output=Path("small")))
        sink.close()
    for name in ("areas.csv", "coco.json", "small.geojson", "cvat.xml", "label-studio.json"):
        assert (tmp_path / "tiles" / name).read_text() == (tmp_path / "one" / name).read_text(), name
    assert done.simplified == polygons.loss()


def test_polygons_alone_write_no_mask(segmenter: vocseg.Segmenter, small: Path, tmp_path: Path) -> None:
    [row] = vocseg.predict(small, tmp_path / "out", model=segmenter, tile=256, formats=["geojson"]).images
    assert row.mask is None
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["small.geojson"]


def test_result_from_python(segmenter: vocseg.Segmenter, small: Path, tmp_path: Path) -> None:
    result = segmenter.segment_tiled(small, tmp_path / "mask.png", tile=64, polygons=True)
    mask = read_mask(tmp_path / "mask.png")
    one = Segmentation(torch.zeros(3, *mask.shape, dtype=torch.uint8), mask, segmenter.info)
    assert result.polygons() == one.polygons()
    assert result.polygons(simplify=2) == one.polygons(simplify=2)
    with pytest.raises(SettingError, match=r"segment_tiled\(..., polygons=True\) traces them"):
        segmenter.segment_tiled(small, tmp_path / "mask.png").polygons()


@pytest.mark.usefixtures("few_pixels")
def test_tiff_files_above_the_limit_are_tiled_by_themselves(segmenter: vocseg.Segmenter, tmp_path: Path) -> None:
    pytest.importorskip("tifffile")
    Image.open(CHELSEA).save(tmp_path / "scan.tif")
    [row] = vocseg.predict(tmp_path / "scan.tif", tmp_path / "out", model=segmenter).images
    assert row.mask == tmp_path / "out" / "scan.tif"
    assert "tiles of 512 pixels" in row.notes[0] or "tile of 512 pixels" in row.notes[0]


@pytest.mark.usefixtures("few_pixels")
def test_photographs_above_the_limit_are_refused_with_advice(segmenter: vocseg.Segmenter, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"or raise --max-pixels .*, or segment it at full size in tiles: --tile 512"):
        vocseg.predict(CHELSEA, tmp_path, model=segmenter).check()


def test_coordinates_are_kept(segmenter: vocseg.Segmenter, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    tags = [
        (33550, "d", 3, (0.5, 0.5, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, 4e5, 5e6, 0.0), True),
        (34735, "H", 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633), True),
    ]
    pixels = torch.randint(0, 255, (7, 9, 3), dtype=torch.uint8).repeat_interleave(10, 0).repeat_interleave(10, 1).numpy()
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extratags=tags)
    formats: list[Any] = ["mask", "geojson"]
    [row] = vocseg.predict(tmp_path / "a.tif", tmp_path / "out", model=segmenter, tile=64, formats=formats).images
    assert row.mask is not None
    with tifffile.TiffFile(row.mask) as file:
        assert all(file.pages[0].tags[code].value == value for code, _, _, value, _ in tags)
        assert file.pages[0].is_tiled
        mask = file.pages[0].asarray()
    found = json.loads((tmp_path / "out" / "a.geojson").read_text())
    assert found["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32633"
    outlines = [[tuple(point) for point in feature["geometry"]["coordinates"][0]] for feature in found["features"]]
    parts = [part for label, parts in trace(mask, skip=0).items() for part in parts]
    expected = [sorted({(4e5 + x / 2, 5e6 - y / 2) for x, y in part.outline.tolist()}) for part in parts]
    assert sorted(sorted(set(outline)) for outline in outlines) == sorted(expected)


def test_command_line(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, out, _ = run(
        "predict", CHELSEA, "--model", "two_layer_net", "--weights", "none", "--tile", 256, "--overlap", 64, "--out", tmp_path,
        "--json", tmp_path / "a.json", "--device", "cpu",
    )  # fmt: skip
    assert code == 0
    assert "segmented at full size in 6 tiles of 256 pixels that overlap by 64" in " ".join(out.split())
    assert json.loads((tmp_path / "a.json").read_text())["predictions"][0]["notes"]
