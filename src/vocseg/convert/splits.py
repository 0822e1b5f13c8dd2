"""Choose the splits of a conversion: the source's own, those of given lists, or drawn ones.

Drawn splits all show every class if possible, and keep near-duplicates together.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from vocseg import voc
from vocseg.convert.source import SPLIT_NAMES, Item, Source, Splits, skipped
from vocseg.data.layout import IMAGE_SUFFIXES
from vocseg.data.lists import read_list, resolve_id
from vocseg.data.near_duplicates import Fingerprint, near_duplicates
from vocseg.errors import DataError, SettingError, nearest
from vocseg.utils.text import counted


@dataclass(frozen=True)
class SplitPlan:
    """Known splits, a note on them, and ids of images to divide by ``fractions`` (train, val, optionally test).

    Images with the same key in ``together`` are in the same split.
    """

    known: Splits
    note: str
    pool: list[str] = field(default_factory=list)
    fractions: tuple[float, ...] = (0.8, 0.2)
    seed: int = 0
    together: dict[str, str] = field(default_factory=dict)


def plan_splits(source: Source, wanted: str | Path | Sequence[float] | None, seed: int, group: str | None = None) -> SplitPlan:
    """Plan the splits: ``wanted`` is a folder of lists, fractions like ``0.8/0.2``, or None for the source's own.

    Drawn splits keep images of a ``group`` together: ``sequence``, or a regular expression (:func:`_group_keys`).
    """
    ids = [item.id for item in source.items]
    pool = partial(SplitPlan, seed=seed, together=_group_keys(source.items, group) if group else {})
    drawn = f"splits drawn by class, near-duplicates kept together, seed {seed}"
    if isinstance(wanted, (str, Path)) and Path(wanted).is_dir():
        plan = SplitPlan(_read_lists(sorted(Path(wanted).glob("*.txt")), source.items), f"splits from the lists in {wanted}")
        if not plan.known:
            raise DataError(f"no split list (train.txt, val.txt, ...) in {wanted}")
    elif wanted is not None:
        plan = pool({}, drawn, ids, parse_fractions(wanted))
    else:
        own, note = (source.splits, "splits as in the source") if source.splits else _own_lists(source)
        held_out = {*own.get("val", []), *own.get("test", [])}
        rest = [id_ for id_ in ids if id_ not in held_out]
        if "val" in own or not rest:
            plan = SplitPlan(own | ({"train": rest} if rest and "train" not in own else {}), note)
        else:  # without a val split, the images that are not in test are divided anew
            kept = {split: names for split, names in own.items() if split == "test"}
            plan = pool(kept, drawn + (" (the source has no val split)" if own else ""), rest)
    if group and not plan.pool:
        raise SettingError(f"group '{group}' is for splits that are drawn, but there are {plan.note}; add --splits 0.8/0.2")
    return plan


def _group_keys(items: list[Item], group: str) -> dict[str, str]:
    """Return what each image's ``folder/id`` has in common with others of its group, by id.

    That is what a regular expression finds there, its first group if it has one; ids without it stand alone. For
    ``sequence``, it is all but the last number, which counts the frames of a video.
    """
    try:
        found = [re.search(group, f"{item.image.parent.name}/{item.id}") for item in items if group != "sequence"]
    except re.error as error:
        raise SettingError(f"group '{group}' is neither 'sequence' nor a regular expression: {error}") from error
    if group == "sequence":
        return {item.id: re.sub(r"\d+(?=\D*$)", "#", f"{item.image.parent.name}/{item.id}") for item in items}
    return {item.id: match[1 if match.re.groups else 0] or "" for item, match in zip(items, found, strict=True) if match}


def parse_fractions(given: str | Path | Sequence[float]) -> tuple[float, ...]:
    """Return the fractions of train, val and optionally test, given as numbers or as ``0.8/0.2``, ``80/10/10`` or ``1``."""
    numbers = str(given).split("/") if isinstance(given, (str, Path)) else given
    try:
        parts = [float(part) for part in numbers]
    except ValueError:
        parts = []
    total = sum(parts)
    is_one = abs(total - 1) < 0.011 or abs(total - 100) < 1.1
    if len(parts) not in (1, 2, 3) or not all(0 < part < float("inf") for part in parts) or not is_one:
        raise SettingError(f"splits '{given}' is neither a folder of lists nor fractions like 0.8/0.2 or 0.7/0.15/0.15")
    return tuple(part / total for part in parts)


def _own_lists(source: Source) -> tuple[Splits, str]:
    """Return the splits that lists in the source's folder give, and a note; names without a mask are skipped."""
    for folder in (source.root / name for name in (voc.SPLITS, "ImageSets", "splits", ".")):
        files = [path for path in sorted(folder.glob("*.txt")) if path.stem.lower() in (*SPLIT_NAMES, "trainaug")]
        unknown: list[str] = []
        if splits := _read_lists(files, source.items, unknown):
            source.notes += skipped(unknown, "listed image", "without a mask")
            return splits, f"splits from the lists in {folder}"
    return {}, ""


def _read_lists(files: list[Path], items: list[Item], unknown: list[str] | None = None) -> Splits:
    """Read split lists, which name one image a line by its id, file name or path.

    Names of other images go to ``unknown``; without that, they raise DataError.
    """
    stems = Counter(item.image.stem for item in items)
    by_name = {item.image.stem: item.id for item in items if stems[item.image.stem] == 1} | {item.id: item.id for item in items}
    masks = {item.origin.stem: item.id for item in items}
    splits: Splits = {}
    for path in files:
        for line in dict.fromkeys(read_list(path)):
            columns = re.fullmatch(r"(.*\S)[\s,;]+(\S+)", line)
            mask = masks.get(PureWindowsPath(columns[2]).stem) if columns else None
            first = columns[1] if columns and mask else line
            name = resolve_id(first, by_name)
            bare = first[: -len(Path(first).suffix)] if first.lower().endswith(IMAGE_SUFFIXES) else first
            spellings = (bare.replace("\\", "/").strip("./").replace("/", "_"), name)
            id_ = next((by_name[one] for one in spellings if one in by_name), None)
            if mask and id_ and mask != id_:
                raise DataError(f"split list {path}: the line '{line}' names an image and the mask of another one")
            if id_ is not None:
                splits.setdefault(SPLIT_NAMES.get(path.stem.lower(), path.stem), []).append(id_)
            elif unknown is None:
                hint = nearest(name, list(by_name))
                raise DataError(f"split list {path} names '{line}', which is not an image with a mask{hint}")
            else:
                unknown.append(line)
    return splits


def draw_splits(
    plan: SplitPlan, ids: Sequence[str], prints: Sequence[Fingerprint | None], shown: NDArray[np.bool_], classes: Sequence[str]
) -> tuple[Splits, list[str]]:
    """Divide the pool of a plan, and return all splits with notes on near-duplicates and on classes that a split lacks.

    ``ids``, ``prints`` (needed in the pool only) and the rows of ``shown`` (images x classes) belong to the same images.
    """
    if not plan.pool:
        return plan.known, []
    wanted = set(plan.pool)
    places = [place for place, id_ in enumerate(ids) if id_ in wanted]
    duplicates = near_duplicates([print_ for place in places if (print_ := prints[place]) is not None])
    notes = [_note("near-duplicates", duplicates)] if duplicates else []
    by_key: dict[str, list[int]] = {}
    for number, place in enumerate(places):
        if ids[place] in plan.together:
            by_key.setdefault(plan.together[ids[place]], []).append(number)
    given = [*by_key.values()]
    notes += [_note("groups kept together", given)] if given else []
    groups = merge([*given, *duplicates])
    if len(places) - sum(map(len, groups)) + len(groups) < len(plan.fractions) and duplicates:
        groups = given
        notes[0] = "near-duplicates: all images resemble each other, so splits are drawn as if none did"
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


def _note(what: str, groups: Sequence[Sequence[int]]) -> str:
    return f"{what}: {counted(sum(map(len, groups)), 'image')} in {counted(len(groups), 'group')}"


def merge(groups: Iterable[Sequence[int]]) -> list[list[int]]:
    """Join groups that share a member.

    >>> merge([[1, 2], [5, 6], [2, 5], [7]])
    [[1, 2, 5, 6], [7]]
    """
    of: dict[int, list[int]] = {}
    for group in groups:
        joined = sorted({*group, *(other for one in group for other in of.get(one, []))})
        of |= dict.fromkeys(joined, joined)
    return [[*group] for group in dict.fromkeys(map(tuple, of.values()))]


def stratified_split(
    shown: NDArray[np.bool_], fractions: Sequence[float], together: Sequence[Sequence[int]] = (), seed: int = 0
) -> list[list[int]]:
    """Divide images so that each split shows each class about as often as its fraction, rare classes first.

    ``shown`` (images x classes) says which classes an image shows; images of one group in ``together`` stay in the
    same split. A class shown by enough groups is in every split if possible; with fewer groups than splits, the first
    splits come first. Returns the images of each split in ascending order; none is empty.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011, algorithm 1), with groups as examples
    and at least one example of each class wanted in each split.
    """
    grouped = {image for group in together for image in group}
    units = [list(group) for group in together] + [[image] for image in range(len(shown)) if image not in grouped]
    if len(units) < len(fractions):
        number = counted(len(units), "image") + (" (each group counted once)" if together else "")
        ways = "--splits 1 puts all in train, --splits DIR takes lists"
        raise SettingError(f"cannot divide {number} into {len(fractions)} splits; {ways}")
    rng = np.random.default_rng(seed)
    units = [units[place] for place in rng.permutation(len(units))]
    sizes = np.array([len(unit) for unit in units])
    counts = np.array([shown[unit].sum(0) for unit in units]).reshape(len(units), -1)
    split = _assign(counts, sizes, np.asarray(fractions, dtype=np.float64), rng)
    _spread(split, counts > 0, sizes, len(fractions))
    return [sorted(image for unit in np.flatnonzero(split == one) for image in units[unit]) for one in range(len(fractions))]


def _assign(
    counts: NDArray[np.int64], sizes: NDArray[np.int64], fractions: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the split of each unit: rarest remaining class first, each unit to the split that lacks it most."""
    has = counts > 0
    wanted = counts.sum(0) * fractions[:, None]
    wanted = np.where(has.sum(0) > np.arange(len(fractions))[:, None], np.maximum(wanted, 1), 0)
    capacity = sizes.sum() * fractions
    split = np.full(len(sizes), -1)

    def put(unit: int, scores: NDArray[np.float64]) -> None:
        best = np.flatnonzero(scores == scores.max())
        best = best[capacity[best] == capacity[best].max()]
        one = int(rng.choice(best))
        split[unit] = one
        wanted[one] -= counts[unit]
        capacity[one] -= sizes[unit]

    while (remaining := has[split < 0].sum(0)).any():
        label = int(np.argmin(np.where(remaining > 0, remaining, len(sizes) + 1)))
        # Large groups first, so that small ones can even out their effect.
        for unit in sorted(np.flatnonzero((split < 0) & has[:, label]), key=lambda unit: -sizes[unit]):
            put(int(unit), wanted[:, label])
    for unit in np.flatnonzero(split < 0):
        put(int(unit), capacity)
    return split


def _spread(split: NDArray[np.int64], has: NDArray[np.bool_], sizes: NDArray[np.int64], splits: int) -> None:
    """Move units to empty splits, and to those that lack a class if no split loses its last unit of another class."""
    for one in range(splits):
        if not (split == one).any():
            units = np.flatnonzero(split == np.bincount(split, minlength=splits).argmax())
            split[units[sizes[units].argmin()]] = one
    for label in np.argsort(has.sum(0), kind="stable"):  # rare classes first
        for one in range(splits):
            units = np.flatnonzero(has[:, label])
            if not len(units) or (split[units] == one).any():
                continue
            for unit in sorted(units, key=lambda unit: sizes[unit]):
                stays = has[(split == split[unit]) & (np.arange(len(split)) != unit)]
                if len(stays) and stays[:, has[unit]].any(0).all():
                    split[unit] = one
                    break
