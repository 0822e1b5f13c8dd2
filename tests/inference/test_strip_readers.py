from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vocseg
from vocseg.data.image_io import read_image
from vocseg.errors import DataError, ImageError
from vocseg.inference import strip_readers
from vocseg.inference.strip_readers import open_rows

HEIGHT, WIDTH = 150, 203


@pytest.fixture
def pixels() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strip_readers, "CHUNK", 3 * WIDTH * 7)


def _read(path: Path, reader: str) -> tuple[np.ndarray[Any, Any], list[str]]:
    with open_rows(path) as image:
        assert image.reader == reader
        blocks = list(image.blocks())
        assert all(block.dtype == np.uint8 and block.shape[1:] == (image.width, 3) for block in blocks)
        assert sum(map(len, blocks)) == image.height
        return np.concatenate(blocks), image.notes


def _pillow(path: Path) -> np.ndarray[Any, Any]:
    return read_image(path).permute(1, 2, 0).numpy()


STORED = {
    "one strip": {"rowsperstrip": HEIGHT},
    "strips": {"rowsperstrip": 9},
    "packed strips": {"rowsperstrip": 16, "compression": "zlib"},
    "tiles": {"tile": (32, 64)},
    "packed tiles": {"tile": (64, 32), "compression": "zlib", "predictor": True},
    "bigtiff": {"bigtiff": True, "tile": (64, 64), "compression": "zlib"},
    "big-endian": {"byteorder": ">"},
}


@pytest.mark.parametrize("kind", STORED)
@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff(kind: str, bands: int, dtype: Any, pixels: np.ndarray[Any, Any], tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = np.concatenate([pixels, pixels], 2)[..., :bands].astype(dtype)
    values = values if dtype == np.uint8 else values * 257
    options = {"photometric": "rgb" if bands > 2 else "minisblack"} | STORED[kind]
    outer = {name: options.pop(name) for name in ("bigtiff", "byteorder") if name in options}
    tifffile.imwrite(tmp_path / "a.tif", values if bands > 1 else values[..., 0], metadata=None, **outer, **options)
    read, notes = _read(tmp_path / "a.tif", "tifffile")
    assert np.array_equal(read, np.broadcast_to(pixels[..., :1], pixels.shape) if bands == 1 else pixels)
    assert not notes


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_with_bands_apart(compression: str | None, pixels: np.ndarray[Any, Any], tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(
        tmp_path / "a.tif", pixels.transpose(2, 0, 1), photometric="rgb", planarconfig="separate", rowsperstrip=20,
        compression=compression, metadata=None,
    )  # fmt: skip
    assert np.array_equal(_read(tmp_path / "a.tif", "tifffile")[0], pixels)


def test_tiff_of_twelve_bits_reads_as_in_one_piece(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = np.random.default_rng(0).integers(0, 4000, (40, 50)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, metadata=None)
    notes: list[str] = []
    whole = read_image(tmp_path / "a.tif", notes).permute(1, 2, 0).numpy()
    read, said = _read(tmp_path / "a.tif", "tifffile")
    assert np.array_equal(read, whole)
    assert said == notes


def test_palette_tiff_and_others_read_as_in_one_piece(pixels: np.ndarray[Any, Any], tmp_path: Path) -> None:
    pytest.importorskip("tifffile")
    image = Image.fromarray(pixels)
    image.quantize(30).save(tmp_path / "palette.tif")
    image.convert("CMYK").save(tmp_path / "cmyk.tif")
    image.convert("1").save(tmp_path / "bits.tif")
    for name, reader in (("palette", "tifffile"), ("cmyk", "Pillow"), ("bits", "Pillow")):
        path = tmp_path / f"{name}.tif"
        assert np.array_equal(_read(path, reader if name == "palette" or not _has("rasterio") else _reader(path))[0], _pillow(path))


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _reader(path: Path) -> str:
    with open_rows(path) as image:
        return image.reader


def test_of_several_pages_the_first_is_read(pixels: np.ndarray[Any, Any], tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in (pixels, pixels[::-1]):
            file.write(page, photometric="rgb", metadata=None)
    read, notes = _read(tmp_path / "a.tif", "tifffile")
    assert np.array_equal(read, pixels)
    assert notes == ["it holds several images; the first is read"]


def test_truncated_tiff_is_an_error(pixels: np.ndarray[Any, Any], tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    for name, options in (("plain", {}), ("packed", {"compression": "zlib", "rowsperstrip": 10})):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, pixels, photometric="rgb", metadata=None, **options)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        segmenter = vocseg.Segmenter("two_layer_net", device="cpu")
        with pytest.raises(DataError, match=rf"cannot (read|decode) image .*{name}\.tif"):
            segmenter.segment_tiled(path, tmp_path / "mask.png")
        assert not (tmp_path / "mask.png").exists()


def test_rasterio_reads_the_same(pixels: np.ndarray[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rasterio = pytest.importorskip("rasterio")
    _without(monkeypatch, "tifffile")
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", width=WIDTH, height=HEIGHT, count=3, dtype="uint8", compress="lzw", tiled=True,
        blockxsize=64, blockysize=64,
    ) as file:  # fmt: skip
        file.write(pixels.transpose(2, 0, 1))
    assert np.array_equal(_read(tmp_path / "a.tif", "rasterio")[0], pixels)


def test_rasterio_keeps_coordinates(pixels: np.ndarray[Any, Any], tmp_path: Path) -> None:
    rasterio, tifffile = pytest.importorskip("rasterio"), pytest.importorskip("tifffile")
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", width=WIDTH, height=HEIGHT, count=3, dtype="uint8", compress="lzw",
        crs="EPSG:32633", transform=rasterio.transform.from_origin(4e5, 5e6, 0.5, 0.5),
    ) as file:  # fmt: skip
        file.write(pixels.transpose(2, 0, 1))
    result = vocseg.Segmenter("two_layer_net", device="cpu").segment_tiled(tmp_path / "a.tif", tmp_path / "mask.tif")
    with rasterio.open(tmp_path / "mask.tif") as file:
        assert (file.crs.to_epsg(), tuple(file.transform)[:6]) == (32633, (0.5, 0, 4e5, 0, -0.5, 5e6))
    assert result.place is not None
    assert result.place.crs == "urn:ogc:def:crs:EPSG::32633"
    assert tifffile.TiffFile(tmp_path / "mask.tif").pages[0].is_tiled


@pytest.mark.parametrize("kind", ["a.png", "a.jpg", "gray.png", "alpha.png", "palette.png", "turned.jpg", "a.webp"])
def test_pyvips_reads_as_in_one_piece(kind: str, pixels: np.ndarray[Any, Any], tmp_path: Path) -> None:
    pytest.importorskip("pyvips")
    path, image = tmp_path / kind, Image.fromarray(np.repeat(np.repeat(pixels[::8, ::8], 8, 0), 8, 1)[:HEIGHT, :WIDTH])
    modes = {"gray.png": "L", "alpha.png": "RGBA", "palette.png": "P"}
    exif = Image.Exif()
    if kind == "turned.jpg":
        exif[274] = 6
    image.convert(modes.get(kind, "RGB")).save(path, exif=exif, **({"lossless": True} if kind == "a.webp" else {}))
    read, whole = _read(path, "pyvips")[0], _pillow(path)
    assert read.shape == whole.shape
    assert np.abs(read.astype(int) - whole).max() <= (3 if kind.endswith(".jpg") else 0)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_truncated_jpeg_and_png_are_errors(name: str, pixels: np.ndarray[Any, Any], tmp_path: Path) -> None:
    pytest.importorskip("pyvips")
    path = tmp_path / name
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(DataError, match=rf"cannot decode image .*{name}: it is truncated or damaged"):
        vocseg.Segmenter("two_layer_net", device="cpu").segment_tiled(path, tmp_path / "mask.png")
    assert not (tmp_path / "mask.png").exists()


def test_cmyk_reads_as_in_one_piece(pixels: np.ndarray[Any, Any], tmp_path: Path) -> None:
    Image.fromarray(pixels).convert("CMYK").save(tmp_path / "a.jpg")
    assert np.array_equal(_read(tmp_path / "a.jpg", "Pillow")[0], _pillow(tmp_path / "a.jpg"))


@pytest.mark.parametrize("kind", [np.float32, np.int16])
def test_what_is_no_image_of_bytes_says_why(kind: Any, pixels: np.ndarray[Any, Any], tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "a.tif", pixels.astype(kind), photometric="rgb")
    with (
        ExitStack() as files,
        pytest.raises(ImageError, match=rf"cannot decode image .*; tifffile: pixels of {kind.__name__} and kind RGB"),
    ):
        files.enter_context(open_rows(tmp_path / "a.tif"))


def test_more_bands_than_three(pixels: np.ndarray[Any, Any], tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    bands = np.dstack([pixels, pixels[..., :2]])
    tifffile.imwrite(tmp_path / "a.tif", bands, photometric="minisblack", planarconfig="contig")
    tifffile.imwrite(tmp_path / "b.tif", bands.transpose(2, 0, 1), photometric="minisblack", planarconfig="separate")
    for name in ("a.tif", "b.tif"):
        read, notes = _read(tmp_path / name, "tifffile")
        assert np.array_equal(read, pixels)
        assert notes == ["of its 5 bands, the first three are read as red, green and blue"]


def _without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None if name in packages else find(name, package))


@pytest.fixture
def few_pixels() -> Iterator[None]:
    vocseg.set_max_pixels(1000)
    yield
    vocseg.set_max_pixels(100_000_000)


@pytest.mark.usefixtures("few_pixels")
@pytest.mark.parametrize(("name", "package"), [("a.tif", "tifffile"), ("a.png", "pyvips")])
def test_the_message_names_what_to_install(
    name: str, package: str, pixels: np.ndarray[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without(monkeypatch, "tifffile", "rasterio", "pyvips")
    Image.fromarray(pixels).save(tmp_path / name)
    with ExitStack() as files, pytest.raises(DataError, match=rf"raise --max-pixels.*; {package} reads it by parts: pip install"):
        files.enter_context(open_rows(tmp_path / name))


def test_without_packages_images_are_read_in_one_piece(
    pixels: np.ndarray[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without(monkeypatch, "tifffile", "rasterio", "pyvips")
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    assert np.array_equal(_read(tmp_path / "a.tif", "Pillow")[0], pixels)
