"""Put corrected masks in the place of those of a data set while it is converted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vocseg import voc
from vocseg.convert.detect import find_source
from vocseg.convert.regions import Mask
from vocseg.convert.source import Item, Lost, Source, is_background, is_inside
from vocseg.data.image_io import image_size
from vocseg.errors import DataError
from vocseg.utils.text import counted


def correct(found: Source, items: list[Item], corrections: Path, allow_outside: bool) -> None:
    """Give items the masks that a data set of any format has for their ids, by class name, and note how many.

    Raises DataError for a corrected image or class that the source lacks, and for files outside of ``corrections``.
    """
    other = find_source(corrections, allow_outside=allow_outside)
    if found.names is None or other.names is None:
        raise DataError(f"{other.root if found.names else found.root} does not name its classes, so masks cannot be corrected")
    by_id = {item.id: item for item in items}
    if unknown := sorted({item.id for item in other.items} - by_id.keys()):
        raise DataError(f"{corrections} corrects {unknown[0]}, which is not in {found.root}")
    if not allow_outside and (outside := [item.origin for item in other.items if not is_inside(item.origin, [corrections])]):
        raise DataError(f"{outside[0]} is outside of {corrections}; --allow-outside reads it")
    labels = _labels(found, other, corrections)
    for item in other.items:
        found.corrected[item.id] = _Correction(other, item, by_id[item.id].image, labels)
    found.notes.append(f"{counted(len(other.items), 'mask')} corrected, from {corrections}")


def _labels(found: Source, other: Source, corrections: Path) -> NDArray[np.uint8]:
    """Return the label in ``found`` of each label in ``other``: by name, void for void, and stray ones as they are."""
    known = {_plain(name): label for label, name in (found.names or {}).items()}
    labels = np.arange(256, dtype=np.uint8)
    for label, name in (other.names or {}).items():
        if _plain(name) not in known:
            raise DataError(f"{corrections} has the class '{name}', which {found.root} does not have")
        labels[label] = known[_plain(name)]
    labels[list(other.void)] = voc.VOID
    return labels


def _plain(name: str) -> str:
    return voc.BACKGROUND_NAMES[0] if is_background(name) else name


class _Correction:
    """Reads the mask of an item of another source; ``image`` is the one that it belongs to."""

    def __init__(self, source: Source, item: Item, image: Path, labels: NDArray[np.uint8]) -> None:
        self.source, self.item, self.image, self.labels = source, item, image, labels

    def __call__(self, lost: list[Lost] | None) -> Mask:
        size = image_size(self.image)
        if self.item.size not in (None, size):  # nothing is allocated for a size that a file claims
            height, width = self.item.size or size
            raise DataError(f"image {self.image} is {size[0]}x{size[1]} but its correction {self.item.origin} {height}x{width}")
        return self.labels[self.source.mask(self.item, lost)]
