"""Fonts that have the letters of a text: DejaVu Sans, and a system font for Chinese, Japanese and Korean."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from PIL import ImageFont

CJK_FAMILIES = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei",
    "Droid Sans Fallback", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo",
    "Arial Unicode MS",
)  # fmt: skip
"""Fonts of Linux, Windows and macOS, in the order of preference."""
FIRST_CJK = "\u2e80"
"""First letter of Unicode's blocks for Chinese, Japanese and Korean, which DejaVu Sans lacks."""


def find_font(size: float, text: str = "") -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Load a font for ``text``, ``size`` pixels high."""
    cjk = cjk_font() if _has_cjk(text) else None
    path = _dejavu() if cjk is None else cjk[1]
    return ImageFont.truetype(path, size) if path.is_file() else ImageFont.load_default(size=size)


def families(text: str) -> list[str]:
    """List the font families, most preferred first, in which matplotlib finds the letters of ``text``."""
    cjk = cjk_font() if _has_cjk(text) else None
    return ["DejaVu Sans"] + ([] if cjk is None else [cjk[0]])


@cache
def cjk_font() -> tuple[str, Path] | None:
    """Find the first installed font of ``CJK_FAMILIES``: its family and its file."""
    from matplotlib.font_manager import fontManager

    installed = {entry.name: Path(entry.fname) for entry in fontManager.ttflist}
    return next(((family, installed[family]) for family in CJK_FAMILIES if family in installed), None)


def _has_cjk(text: str) -> bool:
    return any(letter >= FIRST_CJK for letter in text)


@cache
def _dejavu() -> Path:
    """Return the file that comes with matplotlib, without importing matplotlib, which takes longer than drawing."""
    spec = importlib.util.find_spec("matplotlib")
    return Path(spec.origin or "").parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf" if spec else Path()
