"""Palette PNG masks, overlays, legends and contact sheets."""

from __future__ import annotations

import importlib.util
import io
import itertools
import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from vocseg import voc
from vocseg.utils.files import replacing
from vocseg.utils.text import visible

Colors = Sequence[Sequence[int]]
"""RGB, 0..255, of each class."""

STRIP = 256
"""Rows of an image that are tinted at a time."""
Matrix = tuple[float, float]
"""Of YUV: the shares of red and blue in the luma."""
BT601, BT709 = (0.299, 0.114), (0.2126, 0.0722)
BLACK, WHITE = 256, 257
"""Looks of pixels besides those of the labels 0 to 255."""


def palette_image(mask: Tensor, palette: Colors = voc.PALETTE) -> Image.Image:
    """Make a palette image, with class ids as pixels, of a mask (uint8, H x W); 255 has VOC's void color."""
    image = Image.fromarray(mask.cpu().numpy(), mode="P")
    image.putpalette(_palette_bytes(tuple(map(tuple, palette))))
    return image


@lru_cache
def _palette_bytes(palette: Colors) -> bytes:
    return bytes(part for color in full_palette(palette) for part in color)


JPEG_SIDE = 65_500
"""Longest side that libjpeg writes, pixels."""


def save_mask(mask: Tensor, path: Path, palette: Colors = voc.PALETTE, note: bytes = b"") -> None:
    """Write a mask (uint8, H x W) as a palette PNG atomically; raise OutputError if it cannot be written."""
    save_image(palette_image(mask, palette), path, note)


def save_image(image: Image.Image, path: Path, note: bytes = b"") -> None:
    """Write a Pillow image atomically in the format of its suffix; raise OutputError if it cannot be written.

    ``note`` is kept in the head of a PNG or JPEG file. An image larger than JPEG allows is shrunk for it.
    """
    kind = "JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else path.suffix[1:].upper()
    options: dict[str, Any] = {}
    if kind == "JPEG":
        options = {"quality": 92, "comment": note}
        if max(image.size) > JPEG_SIDE:
            image = ImageOps.contain(image, (JPEG_SIDE, JPEG_SIDE))
    if kind == "PNG" and note:
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_text("Software", note)
    content = encoded(image, kind, **options)
    with replacing(path, durable=not note) as temporary:  # what has a note is a result, which can be made again
        temporary.write_bytes(content)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return the content of a file of a Pillow image: Pillow itself would not notice that a full disk cuts its file."""
    if kind == "PNG" and image.mode == "P":
        options["compress_type"] = zlib.Z_RLE  # less than half the time for regions of one label, and no larger
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def overlay(
    image: Tensor,
    mask: Tensor,
    palette: Colors = voc.PALETTE,
    opacity: float = voc.OPACITY,
    background: int | None = voc.BACKGROUND,
) -> Image.Image:
    """Draw what :func:`tinted` computes as a Pillow image."""
    return Image.merge("RGB", [Image.fromarray(plane) for plane in tinted(image, mask, palette, opacity, background)])


def tinted(
    image: Tensor,
    mask: Tensor,
    palette: Colors = voc.PALETTE,
    opacity: float = voc.OPACITY,
    background: int | None = voc.BACKGROUND,
) -> NDArray[np.uint8]:
    """Tint an image (uint8 RGB, 3 x H x W) with the colors of its mask (uint8, H x W), with white and black outlines.

    ``opacity``: of the colors, 0..1. ``background``: the class that is not tinted; None: all are. Images with a side below
    112 pixels have no outlines, which would hide them.
    """
    labels, pixels = mask.cpu().numpy(), image.cpu().numpy()
    tints = _tints(tuple(full_palette(palette)), opacity, background)
    outlines = _outlines(labels)
    out = np.empty(pixels.shape, dtype=np.uint8)
    for rows in (slice(start, start + STRIP) for start in range(0, len(labels), STRIP)):  # large images in little memory
        looks = _looks(labels, outlines, rows)
        for channel, values in enumerate(tints):
            out[channel, rows] = values.take(looks | pixels[channel, rows])
    return out


def tinted_yuv(
    planes: NDArray[np.uint8], mask: Tensor, palette: Colors, opacity: float, background: int | None, matrix: Matrix
) -> NDArray[np.uint8]:
    """Tint an image in YUV 4:2:0 as :func:`tinted` does one in RGB: uint8, 3/2 H x W, three planes one after another."""
    labels = mask.cpu().numpy()
    looks = _looks(labels, _outlines(labels))
    colors = _tints(tuple(full_palette(palette)), opacity, background, matrix)
    everywhere = [looks.ravel(), *[looks[::2, ::2].ravel()] * 2]
    parts = np.split(planes.ravel(), np.cumsum([len(where) for where in everywhere])[:2])
    tinted = [values.take(where | part) for values, where, part in zip(colors, everywhere, parts, strict=True)]
    return np.concatenate(tinted).reshape(planes.shape)


def _looks(labels: NDArray[np.uint8], outlines: Sequence[NDArray[np.bool_]], rows: slice = slice(None)) -> NDArray[np.intp]:
    """Return the label of each pixel of some rows, or BLACK or WHITE, times 256."""
    looks = labels[rows].astype(np.intp)
    white, black = outlines
    looks[black[rows]] = BLACK
    looks[white[rows]] = WHITE
    looks <<= 8
    return looks


@lru_cache(maxsize=16)
def _tints(
    colors: tuple[tuple[int, int, int], ...], opacity: float, background: int | None, matrix: Matrix | None = None
) -> NDArray[np.uint8]:
    """Return what becomes of each value, 0..255, under each label and BLACK and WHITE: uint8, 3 x (258 * 256).

    Values are those of RGB, or with a ``matrix`` of YUV.
    """
    opacities = np.full((258, 1), opacity)
    opacities[256:] = 1
    if background is not None:
        opacities[background] = 0
    channels = np.array([*colors, (0, 0, 0), (255, 255, 255)], dtype=float).T
    if matrix is not None:
        of_red, of_blue = matrix
        red, green, blue = channels / 255
        luma = of_red * red + (1 - of_red - of_blue) * green + of_blue * blue
        differences = (blue - luma) / (1 - of_blue), (red - luma) / (1 - of_red)
        channels = np.stack([16 + 219 * luma, *(128 + 112 * difference for difference in differences)])
    mixed = np.arange(256) * (1 - opacities) + channels[..., None] * opacities
    return mixed.round().astype(np.uint8).reshape(3, -1)


def thumbnail(image: Image.Image, side: int, enlarge: bool = False) -> Image.Image:
    """Shrink an image so that its longer side has at most ``side`` pixels.

    Smaller images keep their size, or are enlarged to ``side`` with hard pixel edges.
    """
    factor = side / max(image.size)
    if factor >= 1 and not enlarge:
        return image
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.NEAREST)


def legend(image: Image.Image, rows: Sequence[tuple[str, Sequence[int]]], height: int | None = None) -> Image.Image:
    """Add a strip below ``image`` with a color swatch and a text for each ``(text, RGB)`` of ``rows``.

    ``height``: of a line, pixels; by default it grows with the image.
    """
    if not rows:
        return image
    rows = [(visible(text), color) for text, color in rows]
    height = height or max(12, round(min(image.width, 2 * image.height) / 28))
    font = find_font(height * 0.75, "".join(text for text, _ in rows))
    gap = height // 2
    entries, x, y = [], gap, gap
    for text, color in rows:
        width = height + gap // 2 + round(font.getlength(text))
        if x > gap and x + width + gap > image.width:
            x, y = gap, y + height + gap // 2
        entries.append((x, y, text, tuple(color)))
        x += width + 2 * gap
    widest = max(entry[0] + height + gap + round(font.getlength(entry[2])) for entry in entries)
    sheet = Image.new("RGB", (max(image.width, widest), image.height + y + height + gap), "white")
    sheet.paste(image, (0, 0))
    pen = ImageDraw.Draw(sheet)
    for x, y, text, color in entries:
        top = image.height + y
        pen.rectangle((x, top, x + height - 1, top + height - 1), fill=color, outline="black")
        pen.text((x + height + gap // 2, top + height / 2), text, fill="black", font=font, anchor="lm")
    return sheet


def side_by_side(images: Sequence[Image.Image], gap: int = 6) -> Image.Image:
    """Put images in one row on white, aligned at the top."""
    sheet = Image.new("RGB", (sum(im.width + gap for im in images) - gap, max(im.height for im in images)), "white")
    x = 0
    for image in images:
        sheet.paste(image.convert("RGB"), (x, 0))
        x += image.width + gap
    return sheet


def contact_sheet(tiles: Sequence[tuple[Image.Image, str]], columns: int = 4, tile: int = 320) -> Image.Image:
    """Arrange images with captions on a white grid, each fitted into a square of ``tile`` pixels."""
    tiles = [(image, visible(caption)) for image, caption in tiles]
    font = find_font(max(10, tile / 22), "".join(caption for _, caption in tiles))
    gap, line = tile // 32, round(tile / 16)
    columns = max(1, min(columns, len(tiles)))
    fitted = [(ImageOps.contain(image.convert("RGB"), (tile, tile), Image.Resampling.LANCZOS), text) for image, text in tiles]
    rows = [fitted[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(image.height for image, _ in row) + line + 2 * gap for row in rows]
    sheet = Image.new("RGB", (columns * (tile + gap) + gap, sum(heights) + gap), "white")
    pen = ImageDraw.Draw(sheet)
    for row, end in zip(rows, itertools.accumulate(heights), strict=True):
        for column, (image, caption) in enumerate(row):
            x = gap + column * (tile + gap)
            sheet.paste(image, (x + (tile - image.width) // 2, end - line - gap - image.height))
            pen.text((x + tile / 2, end - gap), caption, fill="black", font=font, anchor="ms")
    return sheet


CJK_FAMILIES = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei",
    "Droid Sans Fallback", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo",
    "Arial Unicode MS",
)  # fmt: skip
"""Fonts of Linux, Windows and macOS for Chinese, Japanese and Korean, which DejaVu Sans lacks, most preferred first."""


def font_families(text: str) -> list[str]:
    """List the font families in which matplotlib finds the letters of ``text``."""
    if max(text, default="") < "\u2e80":  # the first Chinese, Japanese or Korean letter
        return ["DejaVu Sans"]
    from matplotlib.font_manager import get_font_names

    installed = get_font_names()
    return ["DejaVu Sans", *[family for family in CJK_FAMILIES if family in installed][:1]]


def find_font(size: float, text: str) -> ImageFont.FreeTypeFont:
    """Load a font for ``text``, ``size`` pixels high."""
    return _font(font_families(text)[-1], size)


@lru_cache(maxsize=16)
def _font(family: str, size: float) -> ImageFont.FreeTypeFont:
    if family != "DejaVu Sans":
        from matplotlib.font_manager import findfont

        return ImageFont.truetype(findfont(family), size)
    # It comes with matplotlib, whose import takes longer than drawing.
    matplotlib = importlib.util.find_spec("matplotlib")
    folder = Path((matplotlib and matplotlib.origin) or "").parent
    return ImageFont.truetype(folder / "mpl-data/fonts/ttf/DejaVuSans.ttf", size)


def full_palette(palette: Colors) -> list[tuple[int, int, int]]:
    """Extend a palette of fewer classes with VOC's colors to 256."""
    own = [(int(red), int(green), int(blue)) for red, green, blue in palette]
    return (own + list(voc.PALETTE[len(own) :]))[:255] + [voc.PALETTE[voc.VOID]]


def _outlines(labels: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Find pixels whose label differs from one to the right or below, and those that differ from one to the left or above.

    Of two lines side by side, one can be seen on any color. The reach grows with the image, so that outlines look equally wide
    when large images are shown smaller.
    """
    before, after = np.zeros(labels.shape, dtype=bool), np.zeros(labels.shape, dtype=bool)
    for distance in range(1, 1 + min(8, round(min(labels.shape) / 375 + 0.2))):
        for changes, first, second in (
            (labels[:, :-distance] != labels[:, distance:], before[:, :-distance], after[:, distance:]),
            (labels[:-distance] != labels[distance:], before[:-distance], after[distance:]),
        ):
            first |= changes
            second |= changes
    return before, after
