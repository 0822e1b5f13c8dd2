"""Numbers as text, text as numbers, and text that is safe to show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from vocseg.errors import SettingError, shown

_BIDI = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_VISIBLE = dict.fromkeys((*range(0x80, 0xA0), 0x2028, 0x2029, *_BIDI), "\N{REPLACEMENT CHARACTER}")
_VISIBLE |= {code: chr(0x2400 + code) for code in range(32)} | {0x7F: "\N{SYMBOL FOR DELETE}"}


def visible(text: str, keep: str = "") -> str:
    """Replace control characters, which could move the cursor or forge a line, by symbols; except those of ``keep``.

    Bytes of a file name that are not UTF-8 become escapes, and URLs lose what is secret (:func:`vocseg.errors.shown`).

    >>> print(visible("a\\x1b[2Jb\\n\\udcff"))
    a␛[2Jb␊\\udcff
    """
    table = _VISIBLE | {ord(character): character for character in keep}
    return shown(text).encode("utf-8", "backslashreplace").decode().translate(table)


def portable(path: object) -> str:
    """Return a path as pages and JSON name it: an absolute one below the current folder relative to it, of others the name.

    They may be published, and absolute paths tell the user's name and the machine's folders. URLs lose what is secret.

    >>> portable("data"), portable("/home/jane/data/VOC2012"), portable(Path.cwd() / "runs" / "a")
    ('data', 'VOC2012', 'runs/a')
    """
    text = shown(path)
    found = Path(text).expanduser()
    if not found.is_absolute():
        return text
    return str(found.relative_to(Path.cwd())) if found.is_relative_to(Path.cwd()) else found.name


def file_name(source: object) -> str:
    """Return what errors call a file, which may be open, or in memory.

    >>> import io
    >>> file_name("a/b.jpg"), file_name(io.BytesIO())
    ('a/b.jpg', 'in memory')
    """
    named = source if isinstance(source, str | Path) else getattr(source, "name", None)
    return str(named) if named and isinstance(named, str | Path) else "in memory"


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

    >>> shares({"background": 0.796, "cat": 0.2036, "bird": 0.0004})
    ['background 79.6%', 'cat 20.4%', 'bird <0.1%']
    """
    return [f"{name} {'<0.1%' if 0 < share < 0.0005 else f'{share:.1%}'}" for name, share in areas.items()]


def pixels_text(pixels: int) -> str:
    """Format a number of pixels.

    >>> pixels_text(383), pixels_text(100_000_000), pixels_text(25_165_824), pixels_text(2_000_000_000)
    ('383 pixels', '100 megapixels', '25.2 megapixels', '2,000 megapixels')
    """
    if pixels < 1_000_000:
        return f"{pixels:,} pixels"
    return f"{pixels / 1e6:,.1f}".removesuffix(".0") + " megapixels"


def parse_seconds(text: str) -> float:
    """Parse a time as seconds; raise SettingError for anything else.

    >>> parse_seconds("90"), parse_seconds("1.5s"), parse_seconds("1:30"), parse_seconds("1:00:00.5")
    (90.0, 1.5, 90.0, 3600.5)
    """
    match = re.fullmatch(r"(?:(?:(\d{1,4}):)?(\d{1,4}):)?(\d{1,9}(?:\.\d{1,9})?)s?", text)
    if not match:
        raise SettingError(f"time '{text}' is not seconds, minutes:seconds or hours:minutes:seconds, e.g. 1.5s or 1:30")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return 3600 * hours + 60 * minutes + seconds


def parse_size(text: str) -> tuple[int, int]:
    """Parse ``HxW`` into height and width in pixels; raise SettingError for anything else.

    >>> parse_size("375x500")
    (375, 500)
    """
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if not match:
        raise SettingError(f"size '{text}' is not HEIGHTxWIDTH, e.g. 375x500")
    return int(match[1]), int(match[2])
