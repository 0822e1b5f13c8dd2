"""Color tables: which color of a mask means which class, and masks read by color."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vocseg import voc
from vocseg.errors import DataError
from vocseg.utils.files import read_lines


@dataclass(frozen=True)
class ColorTable:
    """The label of each color (r << 16 | g << 8 | b) and the class name of each label, read from ``path``."""

    path: Path
    labels: dict[int, int]
    names: dict[int, str]


def color_labels(colors: Sequence[tuple[int, int, int]]) -> dict[int, int]:
    """Return the label of each color (r << 16 | g << 8 | b): its first position, and void for the last one."""
    labels = [*range(len(colors) - 1), voc.VOID]
    return {_code(*color): label for color, label in reversed(list(zip(colors, labels, strict=True)))}


def labels_of_colors(pixels: NDArray[np.uint8], labels: Mapping[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the label of each pixel (H x W x 3), and which pixels have a color without a label: these are void."""
    ordered = sorted(labels)
    codes = np.array([*ordered, 1 << 24], dtype=np.int32)  # the last is no color
    values = np.array([*(labels[code] for code in ordered), voc.VOID], dtype=np.uint8)
    red, green, blue = np.moveaxis(pixels.astype(np.int32), -1, 0)
    colors = red << 16 | green << 8 | blue
    places = np.searchsorted(codes, colors)
    unknown = codes[places] != colors
    return np.where(unknown, np.uint8(voc.VOID), values[places]), unknown


def read_colors(path: Path) -> ColorTable:
    """Read a color table: CVAT's ``labelmap.txt``, or lines with a name and three numbers.

    ``labelmap.txt`` has lines ``name:r,g,b:parts:actions``. Other lines may be split by commas, semicolons, tabs or
    blanks, have a header, and a fourth number, the label, before the color or in the header's column ``id``. Several
    colors of one name are one class. VOC's void color is void unless the table uses it for a class. Raises DataError,
    naming file and line.
    """
    labels: dict[int, int] = {}
    names: dict[int, str] = {}
    ids: dict[str, int] = {}
    header: list[str] = []
    for number, line in enumerate(read_lines(path, "color table"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        cells = _cells(line)
        if not header and not labels and len(cells) > 3 and not any(cell.isdigit() for cell in cells):
            header = [cell.lower() for cell in cells]
            continue
        name, color, label = _row(cells, header, f"{path}, line {number}: '{line.strip()}'")
        label = ids.setdefault(name, len(ids) if label is None else label)
        if labels.setdefault(_code(*color), label) != label:
            raise DataError(f"{path}, line {number}: color {color} is both '{names[labels[_code(*color)]]}' and '{name}'")
        if names.setdefault(label, name) != name:
            raise DataError(f"{path}, line {number}: label {label} is both '{names[label]}' and '{name}'")
    if not names:
        raise DataError(f"color table {path} has no line 'name,r,g,b'")
    if max(names) >= voc.VOID:
        raise DataError(f"{path} has label {max(names)}; labels must stay below the void label {voc.VOID}")
    labels.setdefault(_code(*voc.PALETTE[voc.VOID]), voc.VOID)
    return ColorTable(path, labels, names)


def _code(red: int, green: int, blue: int) -> int:
    return red << 16 | green << 8 | blue


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


def _row(cells: list[str], header: list[str], where: str) -> tuple[str, tuple[int, int, int], int | None]:
    """Parse the name, the color and the label, if any, of a line."""
    at = {key: place for key, titles in HEADERS.items() for place, title in reversed([*enumerate(header)]) if title in titles}
    if at.keys() >= {"name", "r", "g", "b"}:
        if max(at[key] for key in ("name", "r", "g", "b")) >= len(cells):
            raise DataError(f"{where} has fewer columns than the header")
        name = cells[at["name"]]
        numbers = [cells[at[key]] for key in ("id", "r", "g", "b") if at.get(key, len(cells)) < len(cells)]
    else:
        name = " ".join(cell for cell in cells if cell and not cell.isdigit())
        numbers = [cell for cell in cells if cell.isdigit()]
    if not name or len(numbers) not in (3, 4) or not all(number.isdigit() for number in numbers):
        raise DataError(f"{where} is not a name and three numbers")
    *label, red, green, blue = map(int, numbers)
    if max(red, green, blue) > 255:
        raise DataError(f"{where} has a color above 255")
    return name, (red, green, blue), label[0] if label else None
