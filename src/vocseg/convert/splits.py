"""Choose the splits of a conversion: the source's own, those of given lists, or drawn ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vocseg.convert.source import Item, Source, Splits
from vocseg.convert.stratify import parse_fractions, stratified_split
from vocseg.data.layout import IMAGE_SUFFIXES, read_ids
from vocseg.data.near_duplicates import Fingerprint, near_duplicates
from vocseg.errors import DataError, nearest
from vocseg.utils.text import counted

DEFAULT_FRACTIONS = (0.8, 0.2)


@dataclass(frozen=True)
class SplitPlan:
    """Known splits, ids of images to divide by ``fractions`` (train, val, optionally test), and a note."""

    known: Splits
    note: str
    pool: list[str] = field(default_factory=list)
    fractions: tuple[float, ...] = DEFAULT_FRACTIONS
    seed: int = 0


def plan_splits(source: Source, wanted: str | Path | Sequence[float] | None, seed: int) -> SplitPlan:
    """Plan the splits: ``wanted`` is a folder of lists, fractions like ``0.8/0.2``, or None for the source's own.

    If the source has no val split, the images that are not in test are divided anew.
    """
    ids = [item.id for item in source.items]
    drawn = f"splits drawn by class, near-duplicates kept together, seed {seed}"
    if isinstance(wanted, (str, Path)) and Path(wanted).is_dir():
        return SplitPlan(_read_lists(Path(wanted), source.items), f"splits from the lists in {wanted}")
    if wanted is not None:
        return SplitPlan({}, drawn, ids, parse_fractions(wanted), seed)
    own = source.splits
    held_out = {*own.get("val", []), *own.get("test", [])}
    rest = [id_ for id_ in ids if id_ not in held_out]
    if "val" in own or not rest:
        train = {"train": rest} if rest and "train" not in own else {}
        return SplitPlan(own | train, "splits as in the source")
    kept = {split: names for split, names in own.items() if split == "test"}
    return SplitPlan(kept, drawn + (" (the source has no val split)" if own else ""), rest, seed=seed)


def draw_splits(
    plan: SplitPlan, ids: Sequence[str], prints: Sequence[Fingerprint | None], shown: NDArray[np.bool_], classes: Sequence[str]
) -> tuple[Splits, list[str]]:
    """Divide the pool of a plan, and return all splits with notes on near-duplicates and on classes that a split lacks.

    ``ids``, ``prints`` and the rows of ``shown`` (images x classes) belong to the same images; only those of the pool
    need a fingerprint.
    """
    if not plan.pool:
        return plan.known, []
    wanted = set(plan.pool)
    places = [place for place, id_ in enumerate(ids) if id_ in wanted]
    groups = near_duplicates([print_ for place in places if (print_ := prints[place]) is not None])
    number = sum(map(len, groups))
    notes = [f"near-duplicates: {counted(number, 'image')} in {counted(len(groups), 'group')}"] if groups else []
    if len(places) - number + len(groups) < len(plan.fractions):
        groups, notes = [], ["near-duplicates: all images resemble each other, so splits are drawn as if none did"]
    parts = stratified_split(shown[places], plan.fractions, groups, plan.seed)
    splits = dict(plan.known)
    for split, part in zip(("train", "val", "test"), parts, strict=False):
        images = [places[one] for one in part]
        splits[split] = [ids[image] for image in images]
        lacking = np.flatnonzero(shown.any(0) & ~shown[images].any(0))
        if len(lacking):
            few = ", ".join(f"{classes[label]} ({shown[:, label].sum()})" for label in lacking.tolist())
            notes.append(f"classes missing from {split} because too few images show them: {few}")
    return splits, notes


def _read_lists(folder: Path, items: list[Item]) -> Splits:
    """Read the splits of a folder of lists, which name one image a line by its id, file name or path."""
    stems = Counter(item.image.stem for item in items)
    by_name = {item.image.stem: item.id for item in items if stems[item.image.stem] == 1} | {item.id: item.id for item in items}
    splits: Splits = {}
    for path in sorted(folder.glob("*.txt")):
        for name in dict.fromkeys(read_ids(path)):
            bare = name[: -len(Path(name).suffix)] if name.lower().endswith(IMAGE_SUFFIXES) else name
            spellings = (bare, bare.replace("\\", "/").strip("./").replace("/", "_"), Path(bare).name)
            id_ = next((by_name[one] for one in spellings if one in by_name), None)
            if id_ is None:
                raise DataError(
                    f"split list {path} names '{name}', which is not an image with a mask{nearest(bare, list(by_name))}"
                )
            splits.setdefault(path.stem, []).append(id_)
    if not splits:
        raise DataError(f"no split list (train.txt, val.txt, ...) in {folder}")
    return splits
