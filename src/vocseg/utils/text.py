"""Numbers as text, and text as numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping

from vocseg.errors import SettingError


def counted(number: int, thing: str) -> str:
    """Format a number of things, with the thing in singular or plural.

    >>> counted(1, "image"), counted(1449, "image"), counted(0, "box"), counted(2, "class"), counted(2, "copy")
    ('1 image', '1,449 images', '0 boxes', '2 classes', '2 copies')
    """
    if number != 1:
        thing = f"{thing}es" if thing.endswith(("s", "x")) else f"{thing[:-1]}ies" if thing.endswith("y") else f"{thing}s"
    return f"{number:,} {thing}"


def percent(value: float | None) -> str:
    """Format a fraction as a percentage with two decimals, and an undefined one as a dash.

    >>> percent(0.70204), percent(None)
    ('70.20', '-')
    """
    return "-" if value is None else f"{100 * value:.2f}"


def shares(areas: Mapping[str, float]) -> list[str]:
    """Format names, each with its fraction as a percentage.

    >>> shares({"cat": 0.796, "background": 0.204})
    ['cat 79.6%', 'background 20.4%']
    """
    return [f"{name} {share:.1%}" for name, share in areas.items()]


def parse_size(text: str) -> tuple[int, int]:
    """Parse ``HxW`` into height and width in pixels; raise SettingError for anything else.

    >>> parse_size("375x500")
    (375, 500)
    """
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if not match:
        raise SettingError(f"size '{text}' is not HEIGHTxWIDTH, e.g. 375x500")
    return int(match[1]), int(match[2])
