"""Divide images into splits that all show every class and keep near-duplicates together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vocseg.errors import SettingError
from vocseg.utils.text import counted


def parse_fractions(given: str | Path | Sequence[float]) -> tuple[float, ...]:
    """Return the fractions of train, val and optionally test, given as numbers or as ``0.8/0.2`` or ``80/10/10``.

    Raises SettingError for anything else.
    """
    numbers = str(given).split("/") if isinstance(given, (str, Path)) else given
    try:
        parts = [float(part) for part in numbers]
    except ValueError:
        parts = []
    total = sum(parts)
    is_one = abs(total - 1) < 0.011 or abs(total - 100) < 1.1
    if len(parts) not in (2, 3) or not all(0 < part < float("inf") for part in parts) or not is_one:
        raise SettingError(f"splits '{given}' is neither a folder of lists nor fractions like 0.8/0.2 or 0.7/0.15/0.15")
    return tuple(part / total for part in parts)


def stratified_split(
    shown: NDArray[np.bool_], fractions: Sequence[float], together: Sequence[Sequence[int]] = (), seed: int = 0
) -> list[list[int]]:
    """Divide images so that each split shows each class about as often as its fraction, rare classes first.

    ``shown`` (images x classes) says which classes an image shows; images of one group in ``together`` stay in the
    same split. A class shown by enough groups is in every split if possible; with fewer groups than splits, the first
    splits come first. Returns the images of each split in ascending order; none is empty. Raises SettingError if there
    are fewer groups than splits.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011, algorithm 1), with groups as examples
    and at least one example of each class wanted in each split.
    """
    units = _units(len(shown), together)
    if len(units) < len(fractions):
        grouped = " (near-duplicates counted once)" if together else ""
        raise SettingError(
            f"cannot divide {counted(len(units), 'image')}{grouped} into {len(fractions)} splits; give lists with --splits DIR"
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(units))
    sizes = np.array([len(units[unit]) for unit in order])
    counts = np.array([shown[units[unit]].sum(0) for unit in order]).reshape(len(units), -1)
    split = _assign(counts, sizes, np.asarray(fractions, dtype=np.float64), rng)
    _fill_empty(split, sizes, len(fractions))
    _spread_classes(split, counts > 0, sizes, len(fractions))
    return [
        sorted(image for place in np.flatnonzero(split == one) for image in units[order[place]]) for one in range(len(fractions))
    ]


def _units(images: int, together: Sequence[Sequence[int]]) -> list[list[int]]:
    grouped = {image for group in together for image in group}
    return [list(group) for group in together] + [[image] for image in range(images) if image not in grouped]


def _assign(
    counts: NDArray[np.int64], sizes: NDArray[np.int64], fractions: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the split of each unit: rarest remaining class first, each unit to the split that lacks it most."""
    has = counts > 0
    wanted = counts.sum(0) * fractions[:, None]
    groups = has.sum(0)
    for one in range(len(fractions)):
        wanted[one] = np.where(groups > one, np.maximum(wanted[one], 1), 0)
    capacity = sizes.sum() * fractions
    split = np.full(len(sizes), -1)

    def put(unit: int, scores: NDArray[np.float64]) -> None:
        best = np.flatnonzero(scores == scores.max())
        best = best[capacity[best] == capacity[best].max()]
        one = int(rng.choice(best))
        split[unit] = one
        wanted[one] -= counts[unit]
        capacity[one] -= sizes[unit]

    while True:
        remaining = np.where(split[:, None] < 0, has, False).sum(0)
        if not remaining.any():
            break
        label = int(np.argmin(np.where(remaining > 0, remaining, len(sizes) + 1)))
        # Large groups first, so that small ones can even out their effect.
        for unit in sorted(np.flatnonzero((split < 0) & has[:, label]), key=lambda unit: -sizes[unit]):
            put(int(unit), wanted[:, label])
    for unit in np.flatnonzero(split < 0):
        put(int(unit), capacity)
    return split


def _fill_empty(split: NDArray[np.int64], sizes: NDArray[np.int64], splits: int) -> None:
    """Give an empty split the smallest unit of the split with the most units."""
    for one in range(splits):
        if not (split == one).any():
            donor = int(np.bincount(split, minlength=splits).argmax())
            units = np.flatnonzero(split == donor)
            split[units[sizes[units].argmin()]] = one


def _spread_classes(split: NDArray[np.int64], has: NDArray[np.bool_], sizes: NDArray[np.int64], splits: int) -> None:
    """Move units, rare classes first, to splits that lack a class, if no split loses its last unit of another class."""
    for label in np.argsort(has.sum(0), kind="stable"):
        for one in range(splits):
            units = np.flatnonzero(has[:, label])
            if not len(units) or (split[units] == one).any():
                continue
            for unit in sorted(units, key=lambda unit: sizes[unit]):
                donor = split[unit]
                stays = has[(split == donor) & (np.arange(len(split)) != unit)]
                if len(stays) and stays[:, has[unit]].any(0).all():
                    split[unit] = one
                    break
