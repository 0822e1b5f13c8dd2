"""Read split lists, and resolve the ids that their lines mean."""

from __future__ import annotations

import re
from collections.abc import Container
from pathlib import Path, PureWindowsPath
from unicodedata import normalize

from vocseg.errors import DataError
from vocseg.utils.files import read_lines
from vocseg.voc import IMAGE_SUFFIXES


def read_list(path: Path) -> list[str]:
    """Read the lines of a split list except empty ones; raise DataError if it cannot be read or is empty."""
    lines = [normalize("NFC", line.strip()) for line in read_lines(path, "split list") if line.strip()]
    if not lines:
        raise DataError(f"split list {path} is empty")
    return lines


def resolve_id(line: str, known: Container[str]) -> str:
    """Return the id that a line of a split list means, given the ``known`` ones.

    A line is an id, or the name or path of a file, with / or \\. A second column may hold a flag (-1, 0, 1) or the mask;
    columns end at tabs, commas, semicolons or blanks. Blanks belong to the id if the whole line is one. An unknown id
    comes back as the line names it. Raises DataError if the columns name different files.

    >>> [resolve_id(line, {"2007_000032", "weed (1)"}) for line in ("/JPEGImages/2007_000032.jpg -1", "weed (1).jpg", "new -1")]
    ['2007_000032', 'weed (1)', 'new']
    """
    whole = _known(line, known)
    if whole is not None and not re.search(r"[\s,;]", line[: max(line.rfind("/"), line.rfind("\\")) + 1]):
        return whole
    ends = [*re.finditer(r"[\t,;]", line), *reversed([*re.finditer(r"\s+", line)])]  # an id may hold blanks
    different: list[tuple[str, str]] = []
    for end in ends:
        found, rest = _known(line[: end.start()].strip(), known), line[end.end() :].strip()
        if found is not None:
            others = [name for name in _named(rest, known) if name != found]
            if not others:
                return found
            different.append((found, others[0]))
    if whole is not None:
        different = [pair for pair in different if pair[1] in known]
    if different:
        found, other = different[0]
        raise DataError(f"the line '{line}' names '{found}' and '{other}'; write one id a line")
    if whole is not None:
        return whole
    first, *columns = line.split()
    return _stem(first if _has_suffix(first) or set(columns) <= FLAGS else line)


FLAGS = {"-1", "0", "1"}
"""Second columns of VOC's lists: whether an image shows a class."""


def _named(columns: str, known: Container[str]) -> list[str]:
    """Return the ids and files that the columns after an id name."""
    cells = [columns] if _known(columns, known) or _has_suffix(columns) else re.split(r"[\s,;]+", columns)
    named = [_known(cell, known) or (_stem(cell) if _has_suffix(cell) else None) for cell in cells if cell not in FLAGS]
    return [name for name in named if name is not None]


def _known(text: str, known: Container[str]) -> str | None:
    """Return which of the ``known`` ids a text names, as it is or as a file."""
    forms = {form for name in (text, _stem(text)) for form in (name, normalize("NFC", name), normalize("NFD", name))}
    found = sorted(name for name in forms if name in known)
    if len(found) > 1:
        raise DataError(f"'{text}' names the ids '{found[0]}' and '{found[1]}'; rename the files of one")
    return found[0] if found else None


def _stem(text: str) -> str:
    """Return the name that a path, of any system, has without folders and the suffix of an image."""
    name = PureWindowsPath(text).name or text  # it splits at / too
    return PureWindowsPath(name).stem if _has_suffix(name) else name


def _has_suffix(text: str) -> bool:
    return text.lower().endswith(IMAGE_SUFFIXES)
