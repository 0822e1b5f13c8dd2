from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

import vocseg
from vocseg.data.image_io import read_mask
from vocseg.errors import DataError, OutputError, SettingError
from vocseg.inference import tiles
from vocseg.inference.strip_readers import ImageRows, in_memory
from vocseg.inference.tile_plan import plan
from vocseg.models import ModelInfo, SegmentationModel
from vocseg.models.base import Padding

CLASSES = ("background", "a", "b", "c", "d")


class AtCorners(SegmentationModel):
    align_corners = True


def _segmenter(corners: bool = False, **options: Any) -> vocseg.Segmenter:
    """A network without any context beyond three pixels, with logits every four pixels."""
    torch.manual_seed(1)
    layers = [nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, len(CLASSES), 3, stride=2, padding=1)]
    family, padding = (AtCorners, Padding(16, extra=1)) if corners else (SegmentationModel, Padding(32))
    model = family(nn.Sequential(*layers), ModelInfo("tiny", CLASSES), padding=padding)
    return vocseg.Segmenter(model, device="cpu", precision="float32", max_short_side=0, **options)


SEGMENTERS = {corners: _segmenter(corners) for corners in (False, True)}


def _image(height: int, width: int, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=random)


def _same(mask: torch.Tensor, segmenter: vocseg.Segmenter, image: torch.Tensor) -> bool:
    """Whether a mask is that of one piece, except where the two largest logits are as good as equal."""
    logits = segmenter.logits(image)[0].double()
    best = logits.topk(2, 0).values
    return mask.shape == logits.shape[1:] and bool(((mask == logits.argmax(0)) | (best[0] - best[1] < 1e-5)).all())


@pytest.mark.parametrize("corners", [False, True])
@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 230), width=st.integers(1, 230), tile=st.sampled_from([65, 97, 130]), overlap=st.sampled_from([None, 32])
)
def test_tiles_equal_one_piece(
    tmp_path_factory: pytest.TempPathFactory, corners: bool, height: int, width: int, tile: int, overlap: int | None
) -> None:
    segmenter, image = SEGMENTERS[corners], _image(height, width)
    out = tmp_path_factory.mktemp("tiles") / "mask.png"
    result = segmenter.segment_tiled(image, out, tile=tile, overlap=overlap)
    mask = read_mask(out)
    assert _same(mask, segmenter, image)
    assert result.size == (height, width)
    assert result.tile <= max(tile, 65)
    counts = torch.bincount(mask.flatten(), minlength=len(CLASSES)) / mask.numel()
    assert result.areas == pytest.approx({CLASSES[label]: float(share) for label, share in enumerate(counts) if share})
    assert torch.equal(result.overview.mask, mask)
    assert torch.equal(result.overview.image, image)


@pytest.mark.parametrize("size", [(1, 1), (1, 400), (400, 1), (33, 65), (64, 64)])
def test_strips_and_images_smaller_than_a_tile(size: tuple[int, int], tmp_path: Path) -> None:
    image = _image(*size)
    SEGMENTERS[False].segment_tiled(image, tmp_path / "mask.png", tile=128, overlap=32)
    assert _same(read_mask(tmp_path / "mask.png"), SEGMENTERS[False], image)


def test_grids_of_networks() -> None:
    assert tiles.grid_of(SEGMENTERS[False])[:3] == (4, False, 32)
    assert tiles.grid_of(SEGMENTERS[True])[:3] == (4, True, 16)
    assert tiles.grid_of(vocseg.Segmenter(device="cpu"))[:3] == (4, True, 16)
    thirds = vocseg.Segmenter(nn.Conv2d(3, 2, 3, stride=3, padding=1), classes=["a", "b"], device="cpu")
    assert tiles.grid_of(thirds)[:3] == (3, False, 96)


@pytest.mark.parametrize("kind", ["full size", "other grid", "mirrored", "mirrored corners"])
def test_other_networks_agree_with_one_piece(kind: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"device": "cpu", "precision": "float32", "max_short_side": 0}
    torch.manual_seed(3)
    if kind.startswith("mirrored"):
        segmenter = _segmenter(kind.endswith("corners"), tta="flip")
    else:
        network = nn.Conv2d(3, 3, 1) if kind == "full size" else nn.Conv2d(3, 3, 7, stride=3, padding=3)
        segmenter = vocseg.Segmenter(network, classes=["a", "b", "c"], **options)
    # Smooth, so that averages over squares say the same.
    image = nn.functional.interpolate(_image(9, 9)[None].float(), (300, 250), mode="bicubic")[0].clamp(0, 255).to(torch.uint8)
    segmenter.segment_tiled(image, tmp_path / "mask.png", tile=100)
    agreement = (read_mask(tmp_path / "mask.png") == segmenter(image).mask).float().mean()
    assert agreement > (0.93 if kind != "full size" else 0.9999)


def test_only_a_row_of_tiles_is_read_ahead() -> None:
    segmenter, image = SEGMENTERS[False], in_memory(_image(1000, 70))
    whole = next(image.blocks())
    read = 0

    def blocks() -> Iterator[np.ndarray[Any, Any]]:
        nonlocal read
        for start in range(0, 1000, 10):
            read += 10
            yield whole[start : start + 10]

    grid = tiles.grid_of(segmenter)
    image.blocks = blocks
    work = tiles._Work(segmenter, image, grid, plan(1000, 64, 32, grid), plan(70, 64, 32, grid))
    done = 0
    for strip in work.strips(None):
        done += len(strip)
        assert read <= done + 64 + 10
    assert done == 1000


@pytest.mark.parametrize("error", [KeyboardInterrupt, DataError("truncated"), MemoryError])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_run_that_ends_half_way_leaves_nothing(error: Any, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if suffix == "tif":
        pytest.importorskip("tifffile")
    out = tmp_path / f"mask.{suffix}"
    SEGMENTERS[False].segment_tiled(_image(64, 64, 1), out)
    before = out.read_bytes()
    rows = np.zeros((100, 64, 3), np.uint8)

    def failing() -> Iterator[np.ndarray[Any, Any]]:
        yield rows
        raise error

    monkeypatch.setattr("vocseg.inference.strip_readers.in_memory", lambda source: ImageRows("x", 500, 64, failing, "test"))
    with pytest.raises((KeyboardInterrupt, DataError)):
        SEGMENTERS[False].segment_tiled(_image(64, 64), out, tile=64)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    assert out.read_bytes() == before


def test_an_image_that_ends_early_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.zeros((100, 64, 3), np.uint8)
    monkeypatch.setattr(
        "vocseg.inference.strip_readers.in_memory", lambda source: ImageRows("x", 500, 64, lambda: iter([rows]), "test")
    )
    with pytest.raises(DataError, match="cannot read image x: it ends after 100 of 500 rows"):
        SEGMENTERS[False].segment_tiled(_image(64, 64), tmp_path / "mask.png", tile=64)


def test_settings_and_outputs_are_checked(tmp_path: Path) -> None:
    segmenter, image = SEGMENTERS[False], _image(40, 40)
    with pytest.raises(SettingError, match=r"overlap 40 must lie in 0\.\.32, half a tile of 64 pixels"):
        segmenter.segment_tiled(image, tmp_path / "mask.png", tile=64, overlap=40)
    with pytest.raises(SettingError, match="tile is 0; it must be at least 64 pixels"):
        segmenter.segment_tiled(image, tmp_path / "mask.png", tile=0)
    with pytest.raises(OutputError, match=r"mask.jpg: a mask in tiles is a .png or a .tif"):
        segmenter.segment_tiled(image, tmp_path / "mask.jpg")
    Image.new("RGB", (40, 40)).save(tmp_path / "photo.png")
    with pytest.raises(OutputError, match="it would replace the input"):
        segmenter.segment_tiled(tmp_path / "photo.png", tmp_path / "photo.png")
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]


def test_the_overview_of_a_large_image_has_every_nth_pixel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "OVERVIEW", 100)
    image = _image(230, 301)
    result = SEGMENTERS[False].segment_tiled(image, tmp_path / "mask.png", tile=96)
    assert torch.equal(result.overview.image, image[:, ::4, ::4])
    assert torch.equal(result.overview.mask, read_mask(tmp_path / "mask.png")[::4, ::4])


def test_engines_and_forks_are_those_of_the_segmenter(tmp_path: Path) -> None:
    exact = _segmenter(exact=True)
    image = _image(150, 150)
    exact.segment_tiled(image, tmp_path / "mask.png", tile=64, overlap=32)
    assert _same(read_mask(tmp_path / "mask.png"), exact, image)
