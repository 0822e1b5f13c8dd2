"""Color tables: which color of a mask means which class, and masks read by color."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vocseg import voc
from vocseg.errors import DataError, reason


@dataclass(frozen=True)
class ColorTable:
    """The label of each color (r << 16 | g << 8 | b) and the class name of each label, read from ``path``."""

    path: Path
    labels: dict[int, int]
    names: dict[int, str]


def color_labels(colors: Sequence[tuple[int, int, int]]) -> dict[int, int]:
    """Return the label of each color (r << 16 | g << 8 | b): its first position, and void for the last one."""
    labels = {red << 16 | green << 8 | blue: label for label, (red, green, blue) in reversed(list(enumerate(colors)))}
    last = len(colors) - 1
    return {code: voc.VOID if label == last else label for code, label in labels.items()}


def labels_of_colors(pixels: NDArray[np.uint8], labels: Mapping[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the label of each pixel (H x W x 3), and which pixels have a color without a label: these are void."""
    codes = np.array(sorted(labels), dtype=np.int32)
    values = np.array([labels[code] for code in codes.tolist()], dtype=np.uint8)
    red, green, blue = np.moveaxis(pixels.astype(np.int32), -1, 0)
    colors = red << 16 | green << 8 | blue
    if not len(codes):
        return np.full(colors.shape, voc.VOID, dtype=np.uint8), np.ones(colors.shape, dtype=bool)
    places = np.searchsorted(codes, colors).clip(max=len(codes) - 1)
    unknown = codes[places] != colors
    return np.where(unknown, np.uint8(voc.VOID), values[places]), unknown


def read_colors(path: Path) -> ColorTable:
    """Read a color table: CVAT's ``labelmap.txt``, or lines with a name and three numbers.

    ``labelmap.txt`` has lines ``name:r,g,b:parts:actions``. Other lines may be split by commas, semicolons, tabs or
    blanks, have a header, and a fourth number, the label, before the color or in the header's column ``id``. Several
    colors of one name are one class. VOC's void color is void unless the table uses it for a class. Raises DataError,
    naming file and line.
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
    """Parse the name, the color and the label, if any, of a line."""
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
