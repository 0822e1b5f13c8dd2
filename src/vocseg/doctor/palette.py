"""A data set's class names and colors: classes.txt, CVAT's labelmap.txt, or VOC's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vocseg import voc
from vocseg.data.color_table import read_colors
from vocseg.doctor.checks import Colors

LABELMAP = "labelmap.txt"


@dataclass(frozen=True)
class Legend:
    """Class names, their colors and void's after them, and whether the colors are known to be the data set's own.

    ``renamed``: the names come from labelmap.txt, and training would not know them for want of a classes.txt.
    """

    classes: tuple[str, ...]
    colors: Colors
    own: bool
    renamed: bool = False


def find_legend(root: Path, classes: tuple[str, ...]) -> Legend:
    """The legend of the data set in ``root`` whose class names are ``classes`` by its classes.txt, or VOC's for want of one.

    A ``labelmap.txt``, as CVAT writes it beside masks, gives the colors, and the names where there is no classes.txt.
    Otherwise colors are VOC's. Raises DataError for a malformed labelmap.txt.
    """
    default = voc.PALETTE[: len(classes)] + voc.PALETTE[voc.VOID :]
    given = (root / voc.CLASSES_FILE).exists()
    path = root / LABELMAP
    if not path.is_file():
        return Legend(classes, default, own=not given)
    colors = read_labelmap(path)
    if given and not set(classes) <= set(colors):
        return Legend(classes, default, own=False)
    names = classes if given else tuple(colors)
    ordered = tuple(colors[name] for name in names)
    void = voc.PALETTE[voc.VOID] if voc.PALETTE[voc.VOID] not in ordered else (-1, -1, -1)
    return Legend(names, (*ordered, void), own=True, renamed=not given and names != voc.CLASSES)


def read_labelmap(path: Path) -> dict[str, tuple[int, int, int]]:
    """Colors by class name of a ``labelmap.txt``, the first of several; a black class, since it is the background, comes first.

    Raises DataError, naming the line.
    """
    table = read_colors(path)
    colors: dict[str, tuple[int, int, int]] = {}
    for code, label in table.labels.items():
        if label in table.names:
            colors.setdefault(table.names[label], (code >> 16, code >> 8 & 255, code & 255))
    return dict(sorted(colors.items(), key=lambda item: item[1] != (0, 0, 0)))
