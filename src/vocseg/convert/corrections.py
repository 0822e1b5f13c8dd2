"""Put corrected masks in the place of those of a data set while it is converted."""

from __future__ import annotations

from pathlib import Path

from vocseg.convert.source import Item, Source
from vocseg.data.image_io import check_palettes
from vocseg.data.layout import VocFolder
from vocseg.errors import DataError
from vocseg.utils.text import counted


def correct(found: Source, items: list[Item], corrections: str | Path) -> None:
    """Give items the masks that a data set in VOC layout has for their ids, and note how many.

    Raises DataError if the source has no masks of class ids, or other classes, and for a corrected image that it lacks.
    """
    if found.fill is not None or found.table is not None:
        raise DataError(f"{found.root} is of the kind {found.kind}; corrections are for masks of class ids")
    folder = VocFolder.find(corrections)
    names = None if found.names is None else tuple(found.names.values())
    if names is not None and names != folder.classes:
        first = next((pair for pair in zip(names, folder.classes, strict=False) if pair[0] != pair[1]), None)
        detail = f": '{first[1]}' in the place of '{first[0]}'" if first else ""
        raise DataError(f"{folder.root} has other classes than {found.root}{detail}; convert it with --classes")
    wanted = {name for split in folder.splits for name in folder.ids(split)}
    if unknown := sorted(wanted - {item.id for item in items}):
        raise DataError(f"{folder.root} corrects {unknown[0]}, which is not in {found.root}")
    for item in items:
        if item.id in wanted:
            item.origin = folder.mask(item.id)
    check_palettes(item.origin for item in items if item.id in wanted)
    found.notes.append(f"{counted(len(wanted), 'mask')} corrected, from {folder.root}")
