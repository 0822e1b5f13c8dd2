"""A data set's class names and colours: classes.txt, CVAT's labelmap.txt, or VOC's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vocseg import voc
from vocseg.data.inspect import Colours
from vocseg.errors import DataError

LABELMAP = "labelmap.txt"


@dataclass(frozen=True)
class Legend:
    """Class names, their colours and void's after them, and whether the colours are known to be the data set's own.

    ``renamed``: the names come from labelmap.txt, and training would not know them for want of a classes.txt.
    """

    classes: tuple[str, ...]
    colours: Colours
    own: bool
    renamed: bool = False


def find_legend(root: Path, classes: tuple[str, ...]) -> Legend:
    """The legend of the data set in ``root`` whose class names are ``classes`` by its classes.txt, or VOC's for want of one.

    A ``labelmap.txt``, as CVAT writes it beside masks, gives the colours, and the names where there is no classes.txt.
    Otherwise colours are VOC's. Raises DataError for a malformed labelmap.txt.
    """
    default = voc.PALETTE[: len(classes)] + voc.PALETTE[voc.VOID :]
    given = (root / voc.CLASSES_FILE).exists()
    path = root / LABELMAP
    if not path.is_file():
        return Legend(classes, default, own=not given)
    colours = read_labelmap(path)
    if given and not set(classes) <= set(colours):
        return Legend(classes, default, own=False)
    names = classes if given else tuple(colours)
    ordered = tuple(colours[name] for name in names)
    void = voc.PALETTE[voc.VOID] if voc.PALETTE[voc.VOID] not in ordered else (-1, -1, -1)
    return Legend(names, (*ordered, void), own=True, renamed=not given and names != voc.CLASSES)


def read_labelmap(path: Path) -> dict[str, tuple[int, int, int]]:
    """Colours by class name of a ``labelmap.txt``: lines ``name:red,green,blue:parts:actions``, # before remarks.

    A class of the colour black comes first, since it is the background. Raises DataError, naming the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    colours: dict[str, tuple[int, int, int]] = {}
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        try:
            name, colour = line.split(":")[:2]
            red, green, blue = (int(part) for part in colour.split(","))
        except ValueError:
            raise DataError(f"{path}: line '{line}' is not name:red,green,blue::") from None
        if not all(0 <= part <= 255 for part in (red, green, blue)) or name.strip() in colours:
            raise DataError(f"{path}: line '{line}' names a class twice or a colour outside 0..255")
        colours[name.strip()] = (red, green, blue)
    if not 0 < len(colours) <= voc.VOID:
        raise DataError(f"{path} names {len(colours)} classes; 1 to {voc.VOID} are needed")
    return dict(sorted(colours.items(), key=lambda item: item[1] != (0, 0, 0)))
