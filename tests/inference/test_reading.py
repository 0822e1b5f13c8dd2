"""Pages and frames: each is an image, in its order, and one damaged page does not end the batch."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from PIL import Image, features

import vocseg
from hostile_server import HostileServer
from vocseg.data import plugins
from vocseg.data.image_io import read_image, read_mask
from vocseg.errors import DataError

COLORS = ("red", "lime", "blue")


@pytest.fixture(scope="module")
def segment() -> vocseg.Segmenter:
    return vocseg.Segmenter("two_layer_net", device="cpu")


def paged(path: Path, **options: object) -> Path:
    pages = [Image.new("RGB", (24 + 8 * ("tif" in path.suffix) * number, 20), color) for number, color in enumerate(COLORS)]
    pages[0].save(path, save_all=True, append_images=pages[1:], **options)
    return path


def test_each_page_of_a_tiff_is_an_image(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    path = paged(tmp_path / "a.tif")
    results = list(segment.stream(path))
    assert [result.source for result in results] == [path / f"000{number}" for number in (1, 2, 3)]
    for number, (result, color) in enumerate(zip(results, COLORS, strict=True)):
        assert torch.equal(result.image, segment(Image.new("RGB", (24 + 8 * number, 20), color)).image)
    assert torch.equal(segment(path).image, results[0].image)  # a call returns one result
    Image.new("RGB", (24, 20)).save(tmp_path / "b.tif")
    result = vocseg.predict([path, tmp_path / "b.tif"], tmp_path / "out", model=segment, overlay=False)
    found = [row.mask.relative_to(tmp_path / "out").as_posix() for row in result.images]
    assert found == ["a.tif/0001.png", "a.tif/0002.png", "a.tif/0003.png", "b.png"]
    assert [row.name for row in result.images][:1] == [str(Path("a.tif", "0001"))]


def test_pages_behind_addresses_and_of_standard_input(
    segment: vocseg.Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = paged(tmp_path / "a.tif").read_bytes()
    moving = paged(tmp_path / "b.gif").read_bytes()
    with HostileServer(files={"/a.tif": content, "/plain": content, "/b.gif": moving}) as server:
        sources = [f"{server.url}/{name}" for name in ("a.tif", "plain", "b.gif", "none.tif")]
        result = vocseg.predict(sources, tmp_path / "out", model=segment, overlay=False)
        assert [row.image for row in result.images] == [*(f"{sources[0]}/000{number}" for number in (1, 2, 3)), *sources[1:3]]
        found = [row.mask.relative_to(tmp_path / "out").as_posix() for row in result.images]
        assert found == ["a.tif/0001.png", "a.tif/0002.png", "a.tif/0003.png", "plain.png", "b.png"]
        assert {key: str(error) for key, error in result.errors.items()} == {
            sources[3]: f"cannot read {sources[3]}: the server answers 404 Not Found"
        }
        assert len(list(segment.stream(sources[2], frames=True))) == 3
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert [result.source for result in segment.stream("-")] == [f"standard input/000{number}" for number in (1, 2, 3)]


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".avif"])
def test_frames_of_animations_when_they_are_wanted(segment: vocseg.Segmenter, tmp_path: Path, suffix: str) -> None:
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    path = paged(tmp_path / f"a{suffix}", **({"lossless": True} if suffix == ".webp" else {}))
    assert len(list(segment.stream(path))) == 1
    results = list(segment.stream(path, frames=True))
    assert len(results) == 3
    for result, color in zip(results, COLORS, strict=True):
        wanted = segment(Image.new("RGB", (24, 20), color)).image
        assert (result.image.int() - wanted.int()).abs().max() <= (20 if suffix == ".avif" else 0)


def test_a_damaged_page(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    path = paged(tmp_path / "a.tif", compression="tiff_lzw")
    content = bytearray(path.read_bytes())
    with Image.open(path) as image:
        image.seek(1)
        [offset], [count] = image.tag_v2[273], image.tag_v2[279]
    content[offset : offset + count] = b"\xff" * count
    path.write_bytes(content)
    stream = segment.stream(path, on_error="skip")
    assert [result.source for result in stream] == [path / "0001", path / "0003"]
    assert "page 2 of image" in str(stream.errors[path / "0002"])


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif(tmp_path: Path) -> None:
    Image.new("RGB", (24, 20), "blue").save(tmp_path / "a.avif", quality=100)
    assert read_image(tmp_path / "a.avif").shape == (3, 20, 24)
    with pytest.raises(DataError, match="not supported"):
        read_mask(tmp_path / "a.avif")


@pytest.mark.parametrize(("brand", "needed"), [(b"heic", "pillow-heif"), (b"avif", r"AVIF \(11\.3 or newer\)")])
def test_what_a_format_needs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, brand: bytes, needed: str) -> None:
    monkeypatch.setattr(plugins, "_is_installed", lambda kind: False)
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x1cftyp" + brand + bytes(40))
    with pytest.raises(DataError, match=rf"a\.jpg: .* needs .*{needed}"):
        read_image(tmp_path / "a.jpg")
