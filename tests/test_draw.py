from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from vocseg import draw, voc
from vocseg.errors import OutputError


def test_mask_png_holds_ids_and_voc_colors(tmp_path: Path) -> None:
    mask = torch.tensor([[0, 1, 20], [255, 15, 7]], dtype=torch.uint8)
    draw.save_mask(mask, tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as image:
        assert image.mode == "P"
        assert np.array_equal(np.array(image), mask.numpy())
        assert image.convert("RGB").getpixel((2, 0)) == voc.PALETTE[20]
        assert image.convert("RGB").getpixel((0, 1)) == voc.PALETTE[255]


def test_own_palette_is_filled_up_and_void_kept(tmp_path: Path) -> None:
    image = draw.palette_image(torch.tensor([[0, 1, 2, 255]], dtype=torch.uint8), [(9, 9, 9), (1, 2, 3)]).convert("RGB")
    assert [image.getpixel((x, 0)) for x in range(4)] == [(9, 9, 9), (1, 2, 3), voc.PALETTE[2], voc.PALETTE[255]]


def test_overlay_tints_objects_and_leaves_background() -> None:
    image = torch.full((3, 160, 160), 100, dtype=torch.uint8)
    mask = torch.zeros(160, 160, dtype=torch.uint8)
    mask[80:] = 1
    pixels = np.array(draw.overlay(image, mask, opacity=0.5))
    assert (pixels[0, 0] == 100).all()
    assert pixels[120, 6].tolist() == [114, 50, 50]
    assert (pixels[79] == 255).all()  # the outline
    assert (pixels[80] == 0).all()
    assert not (pixels[78] == 255).any()


@pytest.mark.parametrize("value", [0, 100, 255])
def test_outlines_are_seen_on_every_color(value: int) -> None:
    """Beside an outline there is always a pixel of quite another brightness."""
    image = torch.full((3, 160, 160), value, dtype=torch.uint8)
    mask = torch.full((160, 160), 1, dtype=torch.uint8)
    mask[80:] = 2
    pixels = np.array(draw.overlay(image, mask, [(0, 0, 0)] + [(value, value, value)] * 2)).astype(int)
    assert (pixels[:79] == value).all()
    assert (pixels[81:] == value).all()
    assert int(pixels[79:81].max()) - int(pixels[79:81].min()) == 255


def test_all_classes_are_tinted_without_a_background() -> None:
    image, mask = torch.full((3, 9, 9), 100, dtype=torch.uint8), torch.zeros(9, 9, dtype=torch.uint8)
    mask[:, 5:] = 1
    palette = [(0, 200, 0), (200, 0, 0)]
    for background, want in (
        (0, ([100] * 3, [150, 50, 50])),
        (None, ([50, 150, 50], [150, 50, 50])),
        (1, ([50, 150, 50], [100] * 3)),
    ):
        pixels = np.array(draw.overlay(image, mask, palette, 0.5, background))
        assert (pixels[4, 1].tolist(), pixels[4, 7].tolist()) == want


@pytest.mark.parametrize("opacity", [0.0, 0.3, 0.55, 1.0])
def test_tints_are_rounded_means(opacity: float) -> None:
    image = torch.arange(256, dtype=torch.uint8).expand(3, 256, 256)[:, :, :100]  # too narrow for outlines
    mask = torch.arange(256, dtype=torch.uint8)[:, None].expand(256, 100)
    share = np.where(np.arange(256) == 0, 0, opacity)[:, None, None]
    mixed = np.array(draw.full_palette(voc.PALETTE), dtype=np.float64)[:, None] * share
    want = image.permute(1, 2, 0).numpy() * (1 - share) + mixed
    assert np.abs(np.array(draw.overlay(image, mask, opacity=opacity)) - want).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("matrix", [draw.BT601, draw.BT709])
def test_tinting_yuv_is_tinting_its_planes(matrix: tuple[float, float]) -> None:
    random = np.random.default_rng(0)
    height, width, opacity = 128, 144, 0.55
    planes = random.integers(16, 236, (height * 3 // 2, width), dtype=np.uint8)
    labels = np.kron(random.integers(0, 21, (8, 9), dtype=np.uint8), np.ones((16, 16), np.uint8))
    tinted = draw.tinted_yuv(planes, torch.from_numpy(labels), voc.PALETTE, opacity, 0, matrix)
    # Outlines are those of the overlay in RGB of a gray image.
    outlined = draw.tinted(torch.full((3, height, width), 128, dtype=torch.uint8), torch.from_numpy(labels), voc.PALETTE, 0.0)
    of_red, of_blue = matrix
    red, green, blue = np.moveaxis(np.array(voc.PALETTE, dtype=float)[labels], 2, 0)
    luma = of_red * red + (1 - of_red - of_blue) * green + of_blue * blue
    differences = (blue - luma) / (2 - 2 * of_blue), (red - luma) / (2 - 2 * of_red)
    colors = (16 + luma * 219 / 255, *(128 + difference * 224 / 255 for difference in differences))
    start = 0
    for color, black, white, step in zip(colors, (16, 128, 128), (235, 128, 128), (1, 2, 2), strict=True):
        shape = labels[::step, ::step].shape
        before, after = (values.ravel()[start:][: np.prod(shape)].reshape(shape) for values in (planes, tinted))
        share = np.where(labels == 0, 0, opacity)[::step, ::step]
        wanted = before * (1 - share) + color[::step, ::step] * share
        line = outlined[0, ::step, ::step]
        wanted = np.where(line == 0, black, np.where(line == 255, white, wanted))
        assert np.abs(after - wanted).max() <= 0.5 + 1e-9
        start += np.prod(shape)


def test_tinting_strips_is_tinting_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.randint(0, 256, (3, 150, 130), dtype=torch.uint8)
    mask = torch.randint(0, 256, (150, 130), dtype=torch.uint8)
    whole = draw.overlay(image, mask).tobytes()
    monkeypatch.setattr(draw, "STRIP", 7)
    assert draw.overlay(image, mask).tobytes() == whole


def test_legends_grow_with_the_image() -> None:
    heights = [draw.legend(Image.new("RGB", (size, size)), [("cat", (1, 2, 3))]).height - size for size in (100, 500, 4000)]
    assert heights[0] == 24
    assert heights[1] == pytest.approx(500 / 14, abs=2)
    assert heights[2] == pytest.approx(4000 / 14, abs=2)


@pytest.mark.parametrize(("size", "width"), [(32, 0), (111, 0), (375, 1), (1500, 4), (6000, 8)])
def test_outlines_are_as_wide_to_the_eye(size: int, width: int) -> None:
    labels = np.zeros((size, size + 10), dtype=np.uint8)
    labels[:, 20:] = 1
    white, black = draw._outlines(labels)
    assert white.sum(1).tolist() == black.sum(1).tolist() == [width] * size
    assert not (white & black).any()


@pytest.mark.parametrize("width", [1, 20, 500])
def test_legend_keeps_the_image_and_fits_its_text(width: int) -> None:
    image = Image.new("RGB", (width, 30), "red")
    sheet = draw.legend(image, [(name, voc.PALETTE[label]) for label, name in enumerate(voc.CLASSES)])
    assert sheet.width >= width
    assert sheet.crop((0, 0, width, 30)).tobytes() == image.tobytes()
    assert {voc.PALETTE[label] for label in range(21)} <= {color for _, color in sheet.getcolors(1 << 20)}


def test_legend_of_nothing() -> None:
    image = Image.new("RGB", (5, 5))
    assert draw.legend(image, []) is image


def test_unwritable_target_names_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot write .*file/mask\.png"):
        draw.save_mask(torch.zeros(2, 2, dtype=torch.uint8), tmp_path / "file" / "mask.png")
    (tmp_path / "mask.png").mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*mask\.png"):
        draw.save_mask(torch.zeros(2, 2, dtype=torch.uint8), tmp_path / "mask.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "mask.png"]


@pytest.mark.parametrize(
    ("size", "enlarge", "expected"),
    [((800, 400), False, (100, 50)), ((40, 20), False, (40, 20)), ((40, 20), True, (100, 50)), ((1000, 1), False, (100, 1))],
)
def test_thumbnail(size: tuple[int, int], enlarge: bool, expected: tuple[int, int]) -> None:
    assert draw.thumbnail(Image.new("RGB", size), 100, enlarge).size == expected


@pytest.mark.parametrize(("count", "columns"), [(1, 4), (4, 4), (5, 2), (3, 1)])
def test_contact_sheet(count: int, columns: int) -> None:
    tiles = [(Image.new("RGB", (20 + 30 * number, 40), "red"), f"tile {number}") for number in range(count)]
    sheet = draw.contact_sheet(tiles, columns, tile=64)
    used = min(columns, count)
    assert sheet.width == used * 66 + 2
    assert sheet.getpixel((0, 0)) == (255, 255, 255)
    colors = {color for _, color in sheet.getcolors(1 << 16) or []}
    assert (255, 0, 0) in colors


def letters_as_pixels(text: str) -> np.ndarray:
    image = Image.new("L", (60, 40), 255)
    ImageDraw.Draw(image).text((5, 5), text, fill=0, font=draw.find_font(24, text))
    return np.asarray(image)


def test_letters_of_many_alphabets_differ() -> None:
    letters = [letters_as_pixels(letter) for letter in ("a", "é", "ж", "λ", "ğ")]
    assert all(not np.array_equal(one, other) for place, one in enumerate(letters) for other in letters[:place])


def test_cjk_letters_use_a_system_font(monkeypatch: pytest.MonkeyPatch) -> None:
    if len(draw.font_families("猫")) > 1:
        assert not np.array_equal(letters_as_pixels("猫"), letters_as_pixels("犬"))
    monkeypatch.setattr(draw, "CJK_FAMILIES", ("Not Installed CJK", "DejaVu Sans Mono"))
    assert draw.font_families("猫") == ["DejaVu Sans", "DejaVu Sans Mono"]
    assert draw.find_font(12, "a 猫").getname()[0] == "DejaVu Sans Mono"
    assert draw.font_families("cat") == draw.font_families("") == ["DejaVu Sans"]
    assert draw.find_font(12, "cat").getname()[0] == "DejaVu Sans"


def test_without_a_cjk_font_boxes_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draw, "CJK_FAMILIES", ())
    assert letters_as_pixels("猫").min() < 128


def test_an_image_too_long_for_jpeg_is_shrunk(tmp_path: Path) -> None:
    draw.save_image(Image.new("RGB", (65_535, 8)), tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.size == (65_500, 8)


LIMITED = """
import resource, signal, sys
from pathlib import Path
from PIL import Image
from vocseg.draw import save_image
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
save_image(Image.effect_noise((200, 200), 50), Path(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of Unix")
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_an_image_that_does_not_fit_is_no_image(tmp_path: Path, suffix: str) -> None:
    """Pillow, when it writes to a file itself, takes a file that is cut for written."""
    done = subprocess.run([sys.executable, "-c", LIMITED, tmp_path / f"a.{suffix}"], capture_output=True, text=True, check=False)
    assert f"OutputError: cannot write {tmp_path / f'a.{suffix}'}: File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []
