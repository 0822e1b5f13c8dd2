"""Color tables: which color of a mask means which class."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vocseg import voc
from vocseg.errors import DataError, reason


@dataclass(frozen=True)
class ColorTable:
    """Label and class name of each color: ``labels`` by color (r << 16 | g << 8 | b), ``names`` by label."""

    path: Path
    labels: dict[int, int]
    names: dict[int, str]

    @cached_property
    def _sorted(self) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        codes = sorted(self.labels)
        return np.array(codes, dtype=np.int32), np.array([self.labels[code] for code in codes], dtype=np.uint8)

    def read(self, pixels: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
        """Labels (H x W) of colors (uint8, H x W x 3) of the mask ``path``; DataError for a color that is not in the table."""
        codes, values = self._sorted
        red, green, blue = np.moveaxis(pixels.astype(np.int32), -1, 0)
        seen = red << 16 | green << 8 | blue
        place = np.searchsorted(codes, seen).clip(max=len(codes) - 1)
        unknown = codes[place] != seen
        if unknown.any():
            y, x = np.argwhere(unknown)[0]
            count = int((seen == seen[y, x]).sum())
            color = tuple(pixels[y, x].tolist())
            raise DataError(
                f"mask {path} has color {color}, which is not in {self.path}: {count} pixels, the first at x={x}, y={y}"
            )
        return values[place]


def read_colors(path: Path) -> ColorTable:
    """A color table: CVAT's ``labelmap.txt`` (``name:r,g,b:parts:actions``), or lines with a name and three numbers.

    Such lines may be split by commas, semicolons, tabs or blanks, have a header, and a fourth number, the label, before the
    color or named ``id`` in the header. Several colors of one name are one class. VOC's void color is void where
    the table has no other use for it. Raises DataError, naming file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read color table {path}: {reason(error)}") from error
    labels: dict[int, int] = {}
    names: dict[int, str] = {}
    header: list[str] | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        cells = _cells(line)
        if header is None and not labels and len(cells) > 3 and not any(cell.isdigit() for cell in cells):
            header = [cell.lower() for cell in cells]
            continue
        name, color, label = _row(cells, header, f"{path}, line {number}: '{line.strip()}'")
        known = next((old for old, other in names.items() if other == name), None)
        label = known if known is not None else len(names) if label is None else label
        code = color[0] << 16 | color[1] << 8 | color[2]
        if labels.setdefault(code, label) != label:
            raise DataError(f"{path}, line {number}: color {color} is both '{names[labels[code]]}' and '{name}'")
        if names.setdefault(label, name) != name:
            raise DataError(f"{path}, line {number}: label {label} is both '{names[label]}' and '{name}'")
    if not names:
        raise DataError(f"color table {path} has no line 'name,r,g,b'")
    if max(names) >= voc.VOID:
        raise DataError(f"{path} has label {max(names)}; labels must stay below the void label {voc.VOID}")
    red, green, blue = voc.PALETTE[voc.VOID]
    labels.setdefault(red << 16 | green << 8 | blue, voc.VOID)
    return ColorTable(path, labels, names)


def _cells(line: str) -> list[str]:
    labelmap = re.fullmatch(r"\s*([^:]+):\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*(:.*)?", line)
    if labelmap:
        return [cell.strip() for cell in labelmap.groups()[:4]]
    splitter = next((mark for mark, least in ((",", 1), (";", 1), ("\t", 3)) if line.count(mark) >= least), None)
    return [cell.strip().strip("\"'") for cell in (line.split(splitter) if splitter else line.split())]


HEADERS = {
    "name": ("name", "class", "class_name", "label", "classname"), "r": ("r", "red"), "g": ("g", "green"), "b": ("b", "blue"),
    "id": ("id", "index", "value", "label_id", "class_id"),
}  # fmt: skip


def _row(cells: list[str], header: list[str] | None, where: str) -> tuple[str, tuple[int, int, int], int | None]:
    """Name, color and label (None where there is none) of a line."""
    at = {key: next((i for i, h in enumerate(header or []) if h in words), None) for key, words in HEADERS.items()}
    places = [at[key] for key in ("name", "r", "g", "b")]
    numbers: list[int]
    if header and None not in places:
        if max(place for place in places if place is not None) >= len(cells):
            raise DataError(f"{where} has fewer columns than the header")
        name, *parts = (cells[place] for place in places if place is not None)
        parts = ([cells[at["id"]]] if at["id"] is not None and at["id"] < len(cells) else []) + parts
        if not all(part.isdigit() for part in parts):
            raise DataError(f"{where} is not a name and three numbers")
        numbers = [int(part) for part in parts]
    else:
        numbers = [int(cell) for cell in cells if cell.isdigit()]
        name = " ".join(cell for cell in cells if cell and not cell.isdigit())
    if not name or len(numbers) not in (3, 4):
        raise DataError(f"{where} is not a name and three numbers")
    if max(numbers[-3:]) > 255:
        raise DataError(f"{where} has a color above 255")
    return name, (numbers[-3], numbers[-2], numbers[-1]), numbers[0] if len(numbers) == 4 else None
