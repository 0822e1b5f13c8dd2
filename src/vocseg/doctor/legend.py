"""A data set's class names and colors: from classes.txt, CVAT's labelmap.txt, or VOC's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vocseg import voc
from vocseg.data.color_table import read_colors

LABELMAP = "labelmap.txt"
NO_COLOR = (-1, -1, -1)

Color = tuple[int, int, int]
Colors = tuple[Color, ...]


@dataclass(frozen=True)
class Legend:
    """Class names and colors; the last color is void's.

    ``own`` says that the colors are known to be the data set's own. ``renamed`` says that the names come from
    labelmap.txt, which training does not read.
    """

    classes: tuple[str, ...]
    colors: Colors
    own: bool
    renamed: bool = False


def find_legend(root: Path, classes: tuple[str, ...]) -> Legend:
    """Find the legend of the data set in ``root``, whose ``classes`` come from its classes.txt or else are VOC's.

    A ``labelmap.txt``, which CVAT writes beside masks, gives the colors, and the names if there is no classes.txt.
    Otherwise colors are VOC's. Raises DataError for a malformed labelmap.txt.
    """
    named = (root / voc.CLASSES_FILE).exists()
    has_map = (root / LABELMAP).is_file()
    colors = read_labelmap(root / LABELMAP) if has_map else {}
    if not has_map or (named and not set(classes) <= set(colors)):
        return Legend(classes, voc.PALETTE[: len(classes)] + voc.PALETTE[voc.VOID :], own=not named)
    names = classes if named else tuple(colors)
    ordered = tuple(colors[name] for name in names)
    void = voc.PALETTE[voc.VOID] if voc.PALETTE[voc.VOID] not in ordered else NO_COLOR
    return Legend(names, (*ordered, void), own=True, renamed=not named and names != voc.CLASSES)


def read_labelmap(path: Path) -> dict[str, Color]:
    """Read the first color of each class of a ``labelmap.txt``; a black class, which is the background, comes first.

    Raises DataError, naming the line.
    """
    table = read_colors(path)
    colors: dict[str, Color] = {}
    for code, label in table.labels.items():
        if label in table.names:
            colors.setdefault(table.names[label], (code >> 16, code >> 8 & 255, code & 255))
    return dict(sorted(colors.items(), key=lambda item: item[1] != (0, 0, 0)))
