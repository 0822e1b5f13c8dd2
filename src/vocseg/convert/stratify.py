"""Dividing images into splits that all show every class and share no image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vocseg.errors import SettingError
from vocseg.utils.text import counted


def parse_shares(text: str) -> tuple[float, ...]:
    """Shares of train, val and maybe test, as ``0.8/0.2`` or ``80/10/10``; SettingError for anything else."""
    try:
        parts = [float(part) for part in text.split("/")]
    except ValueError:
        parts = []
    total = sum(parts)
    if (
        len(parts) not in (2, 3)
        or not all(0 < part < float("inf") for part in parts)
        or not (abs(total - 1) < 0.011 or abs(total - 100) < 1.1)
    ):
        raise SettingError(f"splits '{text}' is neither a folder of lists nor shares like 0.8/0.2 or 0.7/0.15/0.15")
    return tuple(part / total for part in parts)


def stratified_split(
    shown: NDArray[np.bool_], shares: Sequence[float], together: Sequence[Sequence[int]] = (), seed: int = 0
) -> list[list[int]]:
    """Divide images so that each split shows each class about as often as its share, rare classes first.

    ``shown`` (images x classes) tells which classes an image shows; images of one group of ``together`` stay in one
    split. A class shown by enough groups is in every split wherever that can be had; with fewer groups than splits the
    first splits come first. Gives the images of each split in ascending order; none is empty. Iterative
    stratification (Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011, algorithm 1), with groups for examples and at least
    one of each class wanted in each split. Raises SettingError where there are fewer groups than splits.
    """
    units = _units(len(shown), together)
    if len(units) < len(shares):
        alike = ", near-duplicates counted once," if together else ""
        raise SettingError(
            f"{counted(len(units), 'image')}{alike} cannot be divided into {len(shares)} splits; --splits DIR takes lists"
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(units))
    sizes = np.array([len(units[unit]) for unit in order])
    counts = np.array([shown[units[unit]].sum(0) for unit in order]).reshape(len(units), -1)
    has = counts > 0
    split = _assign(counts, sizes, np.asarray(shares, dtype=np.float64), rng)
    _fill_empty(split, sizes, len(shares))
    _spread_classes(split, has, sizes, len(shares))
    return [sorted(image for place in np.flatnonzero(split == one) for image in units[order[place]]) for one in range(len(shares))]


def _units(images: int, together: Sequence[Sequence[int]]) -> list[list[int]]:
    grouped = {image for group in together for image in group}
    return [list(group) for group in together] + [[image] for image in range(images) if image not in grouped]


def _assign(
    counts: NDArray[np.int64], sizes: NDArray[np.int64], shares: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """The split of each unit; the class with the fewest units left is dealt first, each to the split that lacks it most."""
    has = counts > 0
    wanted = counts.sum(0) * shares[:, None]
    groups = has.sum(0)
    for one in range(len(shares)):
        wanted[one] = np.where(groups > one, np.maximum(wanted[one], 1), 0)
    room = sizes.sum() * shares
    split = np.full(len(sizes), -1)

    def put(unit: int, scores: NDArray[np.float64]) -> None:
        best = np.flatnonzero(scores == scores.max())
        best = best[room[best] == room[best].max()]
        one = int(rng.choice(best))
        split[unit] = one
        wanted[one] -= counts[unit]
        room[one] -= sizes[unit]

    while True:
        left = np.where(split[:, None] < 0, has, False).sum(0)
        if not left.any():
            break
        label = int(np.argmin(np.where(left > 0, left, len(sizes) + 1)))
        # Large groups first: small ones then even out what these did.
        for unit in sorted(np.flatnonzero((split < 0) & has[:, label]), key=lambda unit: -sizes[unit]):
            put(int(unit), wanted[:, label])
    for unit in np.flatnonzero(split < 0):
        put(int(unit), room)
    return split


def _fill_empty(split: NDArray[np.int64], sizes: NDArray[np.int64], splits: int) -> None:
    """Give an empty split the smallest unit of the split with most units."""
    for one in range(splits):
        if not (split == one).any():
            donor = int(np.bincount(split, minlength=splits).argmax())
            units = np.flatnonzero(split == donor)
            split[units[sizes[units].argmin()]] = one


def _spread_classes(split: NDArray[np.int64], has: NDArray[np.bool_], sizes: NDArray[np.int64], splits: int) -> None:
    """Move units, rare classes first, to splits that lack a class, where no split loses its last of another class by it."""
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
