"""What the files of a prediction are called."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vocseg.inference.sources import Item


def with_folders(found: Sequence[Item]) -> list[Item]:
    """Put the names of the folders that were searched before what has one name in several of them."""
    tops = [_top(row) for row in found]
    folders = Counter(relative for relative, _ in {(row.relative, top) for row, top in zip(found, tops, strict=True)})
    return [
        row._replace(relative=top.name / row.relative) if folders[row.relative] > 1 else row
        for row, top in zip(found, tops, strict=True)
    ]


def _top(row: Item) -> Path:
    """Return the folder or archive that was searched, the host of an address, or the folder of a file."""
    if row.member is not None:
        return row.path.with_suffix("")
    parents = Path(os.path.abspath(row.path)).parents
    return parents[min(len(row.relative.parts), len(parents)) - 1]


def output_names(files: Iterable[Item]) -> list[Path]:
    """Name the output of each image, without a suffix: as the image; if two collide, with its suffix, then a number.

    >>> from vocseg.inference.sources import Item
    >>> [str(name) for name in output_names(Item(Path(name), Path(name)) for name in ("a.png", "b.jpg", "a.jpg", "a.jpg"))]
    ['a.png', 'b', 'a.jpg', 'a-2']
    """
    relative = [found.relative for found in files]
    stems = Counter(path.with_suffix("") for path in relative)
    names: dict[Path, None] = {}  # a set in order
    for path in relative:
        name = path.with_suffix("") if stems[path.with_suffix("")] == 1 else path
        number = 1
        while name in names:
            number += 1
            name = path.with_name(f"{path.stem}-{number}")
        names[name] = None
    return list(names)
