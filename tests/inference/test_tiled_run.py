from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

import vocseg
from vocseg.data.image_io import read_mask
from vocseg.data.samples import FOLDER
from vocseg.errors import DataError, SettingError

CHELSEA = FOLDER / "JPEGImages" / "chelsea.jpg"


@pytest.fixture(scope="module")
def segmenter() -> vocseg.Segmenter:
    torch.manual_seed(0)
    return vocseg.Segmenter("two_layer_net", device="cpu", precision="float32")


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


def test_polygons_are_not_written_of_tiles(segmenter: vocseg.Segmenter, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="masks and overlays are written, not"):
        vocseg.predict(CHELSEA, tmp_path, model=segmenter, tile=256, formats=["mask", "coco"])


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
    tifffile.imwrite(tmp_path / "a.tif", torch.zeros(70, 90, 3, dtype=torch.uint8).numpy(), photometric="rgb", extratags=tags)
    [row] = vocseg.predict(tmp_path / "a.tif", tmp_path / "out", model=segmenter, tile=64).images
    with tifffile.TiffFile(row.mask) as file:
        assert all(file.pages[0].tags[code].value == value for code, _, _, value, _ in tags)
        assert file.pages[0].is_tiled


def test_command_line(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    code, out, _ = run(
        "predict", CHELSEA, "--model", "two_layer_net", "--weights", "none", "--tile", 256, "--overlap", 64, "--out", tmp_path,
        "--json", tmp_path / "a.json", "--device", "cpu",
    )  # fmt: skip
    assert code == 0
    assert "segmented at full size in 6 tiles of 256 pixels that overlap by 64" in " ".join(out.split())
    assert json.loads((tmp_path / "a.json").read_text())["predictions"][0]["notes"]
