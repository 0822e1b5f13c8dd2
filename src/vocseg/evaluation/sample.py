"""Which images a model was trained on, as far as its file says: scores of these are in sample."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import blake2b

from vocseg.data.layout import VocFolder
from vocseg.models import ModelInfo

_TRAINED = re.compile(r"(?P<root>.+) (?P<split>\S+) \((?P<count>\d+) (images|pictures), masks \S+\)")
"""What training writes into a model's metadata."""
_FOLD = re.compile(r"(?P<split>.+)-fold-(?P<fold>\d+)-of-(?P<folds>\d+)")


def fold_of(name: str, folds: int) -> int:
    """Return the fold, 1 to ``folds``, that holds out an image: by its id alone, so it never moves.

    >>> [fold_of(f"2007_{number:06}", 5) for number in range(6)]
    [5, 3, 5, 4, 1, 3]
    """
    return 1 + int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") % folds


def fold_split(split: str, fold: int, folds: int) -> str:
    """Return the name of the training split of a fold: all images of ``split`` that the fold does not hold out."""
    return f"{split}-fold-{fold}-of-{folds}"


def held_out(info: ModelInfo, folder: VocFolder) -> Callable[[str], bool | None]:
    """Return a function that says whether a model was not trained on an image of a data set; None if that is not known.

    It is known if the model was trained on a split of this data set that still has as many images.
    """
    match = _TRAINED.fullmatch(info.trained_on or "")
    if match is None or match["root"] != folder.name:
        return lambda _: None
    fold = _FOLD.fullmatch(match["split"])
    split = match["split"] if fold is None else fold["split"]
    if split not in folder.splits:
        return lambda _: None
    names = set(folder.listed(split))
    if fold is not None:
        names = {name for name in names if fold_of(name, int(fold["folds"])) != int(fold["fold"])}
    if len(names) != int(match["count"]):
        return lambda _: None
    return lambda name: name not in names
