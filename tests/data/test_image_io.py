"""Images of every kind that users have, and masks of every kind that they should not."""

from __future__ import annotations

import base64
import io
import os
import tempfile
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import vocseg
from vocseg.convert.readers.folders import find_folders
from vocseg.convert.readers.tools import _labelme_region, _supervisely_region
from vocseg.convert.source import read_labels
from vocseg.data.image_io import decode_mask, image_size, read_image, read_mask
from vocseg.errors import DataError, ImageError
from vocseg.utils.system import max_pixels, set_max_pixels

RAMP = np.stack([np.tile(np.arange(0, 240, 10, dtype=np.uint8), (16, 1))] * 3, axis=-1)
RAMP[..., 1] = RAMP[..., 0] // 2
RAMP[:8, :, 2] = 200


def image(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(RAMP).convert(mode)


@pytest.mark.parametrize("suffix", ["png", "webp", "bmp", "tif"])
def test_lossless_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    image().save(path, **({"lossless": True} if suffix == "webp" else {}))
    assert torch.equal(read_image(path), torch.from_numpy(RAMP).permute(2, 0, 1))


@pytest.mark.parametrize(
    ("suffix", "mode"), [("jpg", "RGB"), ("jpg", "CMYK"), ("jpg", "L"), ("gif", "P"), ("png", "LA"), ("png", "1")]
)
def test_modes_come_out_as_rgb(tmp_path: Path, suffix: str, mode: str) -> None:
    path = tmp_path / f"a.{suffix}"
    image(mode).save(path)
    got = read_image(path)
    want = np.array(Image.open(path).convert("RGB"), dtype=np.int16)
    assert got.shape == (3, 16, 24)
    assert got.dtype == torch.uint8
    assert np.abs(got.permute(1, 2, 0).numpy() - want).mean() < 2


def test_alpha_is_dropped(tmp_path: Path) -> None:
    rgba = np.dstack([RAMP, np.full((16, 24), 7, np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert torch.equal(read_image(tmp_path / "a.png"), torch.from_numpy(RAMP).permute(2, 0, 1))


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    gray = RAMP[..., 0].astype(np.uint16) * 257
    Image.fromarray(gray).save(tmp_path / "a.png")
    assert torch.equal(read_image(tmp_path / "a.png"), torch.from_numpy(RAMP[..., 0]).expand(3, -1, -1))


@pytest.mark.parametrize(("bits", "top"), [(8, 255), (10, 1023), (12, 4095), (14, 16383)])
def test_fewer_than_sixteen_bits_in_sixteen_are_not_black(tmp_path: Path, bits: int, top: int) -> None:
    gray = (RAMP[..., 0].astype(np.uint32) * top // 239).astype(np.uint16)
    Image.fromarray(gray).save(tmp_path / "a.tif")
    notes: list[str] = []
    assert read_image(tmp_path / "a.tif", notes).max() > 240
    assert notes == [f"16-bit pixels up to {gray.max():,} are scaled as {bits}-bit ones"]


@pytest.mark.parametrize("suffix", ["tif", "gif", "webp", "png"])
def test_the_first_of_several_images_is_read_with_a_note(tmp_path: Path, suffix: str) -> None:
    first, second = Image.fromarray(RAMP), Image.new("RGB", (24, 16), "red")
    options = {"lossless": True} if suffix == "webp" else {}
    for name, more in (("one", []), ("two", [second])):
        first.save(tmp_path / f"{name}.{suffix}", save_all=bool(more), append_images=more, **options)
    notes: list[str] = []
    assert torch.equal(read_image(tmp_path / f"two.{suffix}", notes), read_image(tmp_path / f"one.{suffix}", notes))
    assert notes == ["it holds several images; the first is read"]


TURNS = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.transpose(1, 0, 2),
    6: lambda pixels: pixels[::-1].transpose(1, 0, 2),
    7: lambda pixels: pixels[::-1, ::-1].transpose(1, 0, 2),
    8: lambda pixels: pixels[:, ::-1].transpose(1, 0, 2),
}
"""What brings the stored pixels upright, by EXIF orientation (CIPA DC-008, 4.6.4)."""


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    options = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}
    image().save(path, exif=exif, **options.get(suffix, {}))
    want = TURNS[orientation](RAMP).astype(np.int16)
    got = read_image(path).permute(1, 2, 0).numpy()
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= (4 if suffix == "jpg" else 0)
    assert image_size(path) == want.shape[:2]


@pytest.mark.parametrize(("quality", "subsampling", "mode"), [(95, 0, "RGB"), (75, 2, "RGB"), (30, 1, "RGB"), (80, 0, "L")])
def test_jpeg_pixels_are_those_of_torchvision(tmp_path: Path, quality: int, subsampling: int, mode: str) -> None:
    from torchvision.io import ImageReadMode, decode_image

    noise = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((131, 97)).convert(mode).save(tmp_path / "a.jpg", quality=quality, subsampling=subsampling)
    assert torch.equal(read_image(tmp_path / "a.jpg"), decode_image(str(tmp_path / "a.jpg"), mode=ImageReadMode.RGB))


def test_broken_images(tmp_path: Path) -> None:
    image().resize((200, 200)).save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(DataError, match=r"cannot decode image .*cut\.jpg: .*truncated"):
        read_image(tmp_path / "cut.jpg")
    with pytest.raises(DataError, match=r"cannot decode image .*text\.jpg"):
        read_image(tmp_path / "text.jpg")
    with pytest.raises(DataError, match=r"empty\.jpg: the file is empty"):
        read_image(tmp_path / "empty.jpg")
    with pytest.raises(DataError, match=r"cannot read .*none\.jpg: No such file"):
        read_image(tmp_path / "none.jpg")
    Image.fromarray(RAMP[..., 0].astype(np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(DataError, match=r"float\.tif: mode F has no fixed range"):
        read_image(tmp_path / "float.tif")


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 24 16\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there once somebody has started Ghostscript."""
    started, gs = tmp_path / "started", tmp_path / "bin" / "gs"
    gs.parent.mkdir()
    gs.write_text(f"#!/bin/sh\ntouch '{started}'\n")
    gs.chmod(0o755)
    monkeypatch.setenv("PATH", str(gs.parent), prepend=":")
    return started


def in_folders(path: Path) -> None:
    (path.parent / "labelmap.txt").write_text("road:1,2,3::\n")
    for kind in ("images", "masks"):
        (path.parent / kind).mkdir()
        (path.parent / kind / "a.png").write_bytes(path.read_bytes())
    find_folders(path.parent)


def in_labelme(path: Path) -> None:
    data = base64.b64encode(path.read_bytes()).decode()
    _labelme_region({"shape_type": "mask", "points": [[0, 0]], "mask": data}, 16, 24)


def in_supervisely(path: Path) -> None:
    data = base64.b64encode(zlib.compress(path.read_bytes())).decode()
    _supervisely_region({"geometryType": "bitmap", "bitmap": {"origin": [0, 0], "data": data}}, 16, 24)


READERS = [read_image, read_mask, image_size, read_labels, in_folders, in_labelme, in_supervisely]


@pytest.mark.parametrize("read", READERS)
def test_postscript_is_not_run(tmp_path: Path, ghostscript: Path, read: Callable[[Path], object]) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(POSTSCRIPT)
    text = r"it is a PostScript program, which is not supported \(JPEG, PNG, "
    with pytest.raises(DataError, match=text):
        read(path)
    assert not ghostscript.exists()


@pytest.mark.parametrize("kind", ["EPS", "DDS", "PPM", "TGA", "ICO", "PDF"])
def test_other_formats_are_not_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "photo.jpg"
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {kind}")
    image().save(path, kind)
    for read in (read_image, read_mask, image_size):
        with pytest.raises(DataError, match=r"photo\.jpg: (damaged|it is a).*not supported"):
            read(path)


def test_files_of_a_format_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(b"GIF89a")
    with pytest.raises(DataError, match=r"a\.gif: the GIF file is damaged, or of a kind that is not read$"):
        read_image(tmp_path / "a.gif")
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(tmp_path / "bands.tif", np.zeros((9, 9, 7), np.uint8), photometric="minisblack", planarconfig="contig")
    with pytest.raises(DataError, match="the TIFF file is damaged, or of a kind that is not read; --tile N reads more kinds"):
        read_image(tmp_path / "bands.tif")


def test_several_jpegs_in_one_file(tmp_path: Path) -> None:
    """As cameras write them (MPO): the first is read."""
    image().save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[image()])
    with Image.open(tmp_path / "a.jpg") as opened:
        assert opened.format == "MPO"
    assert read_image(tmp_path / "a.jpg").shape == (3, 16, 24)
    with pytest.raises(DataError, match="is a JPEG"):
        read_labels(tmp_path / "a.jpg")


def test_files_are_opened_in_one_place() -> None:
    root = Path(vocseg.__file__).parent
    assert not [path.name for path in root.rglob("*.py") if "Image.open(" in path.read_text(encoding="utf-8")]
    assert [path.name for path in root.rglob("*.py") if "Image.OPEN" in path.read_text(encoding="utf-8")] == ["image_io.py"]


@pytest.fixture
def few_pixels() -> Iterator[None]:
    before = max_pixels()
    set_max_pixels(16 * 24 - 1)
    yield
    set_max_pixels(before)


@pytest.mark.usefixtures("few_pixels")
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp", "tif"])
def test_the_limit_of_pixels_is_ours(tmp_path: Path, suffix: str) -> None:
    image().save(tmp_path / f"a.{suffix}")
    image().resize((23, 16)).save(tmp_path / f"b.{suffix}")
    for read in (read_image, read_mask, image_size):
        with pytest.raises(ImageError, match=rf"cannot read .*a\.{suffix}: it is 16x24, more than 383 pixels"):
            read(tmp_path / f"a.{suffix}")
    assert image_size(tmp_path / f"b.{suffix}") == (16, 23)


def test_a_large_claim_is_refused_before_memory_is_spent(tmp_path: Path) -> None:
    """A PNG of 33 bytes that claims 60,000 x 60,000 pixels; and one above Pillow's limits, below ours, without a warning."""
    for name, side in (("bomb.png", 60_000), ("large.png", 9_900)):
        header = b"IHDR" + side.to_bytes(4, "big") * 2 + b"\x08\x00\x00\x00\x00"
        content = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big")
        (tmp_path / name).write_bytes(content + b"\0\0\0\0IDAT" + zlib.crc32(b"IDAT").to_bytes(4, "big"))
    with pytest.raises(ImageError, match=r"bomb\.png: it is 60000x60000, more than 100 megapixels; make it smaller, or raise"):
        read_image(tmp_path / "bomb.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image_size(tmp_path / "large.png") == (9_900, 9_900)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
def test_only_regular_files_are_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.png"
    {"fifo": os.mkfifo, "folder": os.mkdir, "device": lambda path: path.symlink_to("/dev/zero")}[kind](path)
    for read in (read_image, read_mask, image_size):
        with pytest.raises(ImageError, match=r"cannot read (image|mask) .*a\.png: it is not a regular file"):
            read(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_damaged_exif_data_does_not_matter(tmp_path: Path, suffix: str) -> None:
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}
    for place, exif in enumerate((b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")):
        path = tmp_path / f"{place}.{suffix}"
        image().save(path, exif=exif, **options.get(suffix, {}))
        assert np.abs(read_image(path).permute(1, 2, 0).numpy().astype(int) - RAMP).max() <= (4 if suffix == "jpg" else 0)
        assert image_size(path) == (16, 24)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_file_is_one_line_that_names_it(data: st.DataObject) -> None:
    """Whatever a decoder raises: bytes are changed, removed or added anywhere."""
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]))
    buffer = io.BytesIO()
    image(data.draw(st.sampled_from(["RGB", "L"]))).save(buffer, kind)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        content[start : start + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "photo.jpg"
        path.write_bytes(content)
        for read in (read_image, decode_mask, image_size):
            assert error_of(read, path) is None or str(path) in str(error_of(read, path))


def error_of(read: Callable[[Path], object], path: Path) -> ImageError | None:
    try:
        read(path)
    except ImageError as error:
        return error
    return None


LABELS = np.array([[0, 1, 2], [3, 255, 2]], dtype=np.uint8)


@pytest.mark.parametrize("mode", ["P", "L"])
def test_palette_and_gray_masks(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(LABELS, mode="P")
    image.putpalette([5] * 768) if mode == "P" else None
    (image if mode == "P" else Image.fromarray(LABELS)).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png", 4).tolist() == LABELS.tolist()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bit_palettes(tmp_path: Path, bits: int) -> None:
    labels = (np.arange(21, dtype=np.uint8) % 2**bits).reshape(3, 7)
    image = Image.fromarray(labels, mode="P")
    image.putpalette(bytes(range(3 * 2**bits)))
    image.save(tmp_path / "m.png", bits=bits)
    assert read_mask(tmp_path / "m.png").tolist() == labels.tolist()


def test_bad_masks(tmp_path: Path) -> None:
    Image.fromarray(LABELS).save(tmp_path / "m.png")
    with pytest.raises(DataError, match=r"m\.png holds label 3 \(1 pixels outside 0\.\.2 and 255\)"):
        read_mask(tmp_path / "m.png", 3)
    image().save(tmp_path / "rgb.png")
    with pytest.raises(DataError, match=r"rgb\.png is an RGB color image"):
        read_mask(tmp_path / "rgb.png", 3)
    image("LA").save(tmp_path / "la.png")
    with pytest.raises(DataError, match=r"la\.png is of mode LA; 8-bit class ids"):
        read_mask(tmp_path / "la.png", 3)
    Image.fromarray(LABELS.astype(np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"deep\.png is a 16-bit image"):
        read_mask(tmp_path / "deep.png", 3)
    (tmp_path / "text.png").write_text("no mask")
    with pytest.raises(DataError, match=r"cannot decode mask .*text\.png"):
        read_mask(tmp_path / "text.png", 3)


CODES = {1: 3, 5 << 16 | 6 << 8 | 7: 2}  # (0, 0, 1) is class 3, (5, 6, 7) is class 2


def test_masks_of_every_kind(tmp_path: Path) -> None:
    """Kind, labels and foreign pixels of files that hold the same class ids in all ways."""
    colors = np.array([[[0, 0, 1], [5, 6, 7], [9, 9, 9]]], dtype=np.uint8)
    gray = np.array([[3, 2, 255]], dtype=np.uint8)
    palette = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), mode="P")
    palette.putpalette(colors.tobytes())
    files = {
        "color.png": (Image.fromarray(colors), "color", [[3, 2, 255]], [[False, False, True]]),
        "gray_colors.png": (Image.fromarray(np.stack([gray] * 3, -1)), "color", [[3, 2, 255]], [[False] * 3]),
        "alpha.png": (Image.fromarray(np.dstack([gray, gray]), mode="LA"), "color", [[3, 2, 255]], [[False] * 3]),
        "palette.png": (palette, "palette", [[0, 1, 2]], [[False] * 3]),
        "deep.png": (
            Image.fromarray(np.array([[3, 65535, 300]], dtype=np.uint16)), "deep", [[3, 255, 255]], [[False, False, True]],
        ),
        "float.tif": (
            Image.fromarray(np.array([[3, 1.5, -1]], dtype=np.float32)), "deep", [[3, 255, 255]], [[False, True, True]],
        ),
    }  # fmt: skip
    for name, (image, kind, labels, foreign) in files.items():
        image.save(tmp_path / name)
        mask = decode_mask(tmp_path / name, CODES)
        assert (mask.kind, mask.labels.tolist(), mask.foreign.tolist()) == (kind, labels, foreign), name
        assert mask.labels.dtype == np.uint8
    by_color = decode_mask(tmp_path / "palette.png", CODES, by_color=True)
    assert (by_color.kind, by_color.labels.tolist()) == ("color", [[3, 2, 255]])
    assert decode_mask(tmp_path / "color.png").foreign.all()  # without a table no color means anything
