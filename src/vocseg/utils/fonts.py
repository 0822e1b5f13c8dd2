"""Fonts for what is drawn: DejaVu Sans, which comes with matplotlib, and one of the system's where its letters do not do."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import NamedTuple

from PIL import ImageFont

EAST_ASIAN = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans CJK TC", "Source Han Sans SC", "Source Han Sans",
    "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Microsoft YaHei", "PingFang SC", "Hiragino Sans GB", "Hiragino Sans",
    "Yu Gothic", "Malgun Gothic", "Apple SD Gothic Neo", "Droid Sans Fallback", "Arial Unicode MS", "SimHei",
)  # fmt: skip
"""Families with Chinese, Japanese or Korean letters, by system."""
FIRST_EAST_ASIAN = "\u2e80"
"""Where in Unicode DejaVu ends and those letters begin, near enough."""


class Installed(NamedTuple):
    """A font of the system: its family, as matplotlib calls it, and its file."""

    family: str
    path: Path


@cache
def east_asian_font() -> Installed | None:
    """The first of the families that the system has."""
    from matplotlib.font_manager import fontManager

    there = {entry.name: Path(entry.fname) for entry in fontManager.ttflist}
    return next((Installed(family, there[family]) for family in EAST_ASIAN if family in there), None)


def find_font(size: float, text: str = "") -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font for ``text`` at a size in pixels; Pillow's own where there is no other."""
    asian = _for_east_asian(text)
    path = _dejavu() if asian is None else asian.path
    return ImageFont.truetype(path, size) if path.is_file() else ImageFont.load_default(size=size)


def _for_east_asian(text: str) -> Installed | None:
    return east_asian_font() if any(letter >= FIRST_EAST_ASIAN for letter in text) else None


@cache
def _dejavu() -> Path:
    found = importlib.util.find_spec("matplotlib")  # importing it would take longer than drawing
    return Path(found.origin or "").parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf" if found else Path()


def families(text: str) -> list[str]:
    """The families, in order, that matplotlib is to take the letters of ``text`` from."""
    asian = _for_east_asian(text)
    return ["DejaVu Sans"] + ([asian.family] if asian else [])
