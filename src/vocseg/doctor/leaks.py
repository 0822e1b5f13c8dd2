"""Images that occur in splits for training and in splits for scoring: by id, by content, and as frames of one video."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from typing import Literal

import numpy as np

from vocseg.data.near_duplicates import near_duplicates
from vocseg.doctor.checks import ImageFacts
from vocseg.doctor.issues import Case
from vocseg.doctor.survey import SplitList
from vocseg.utils.text import counted

Role = Literal["scored", "trained", "both"]
MIN_FRAMES, MIN_BESIDE = 12, 3
"""Images of a sequence, and scored ones beside images that are trained on, from which it is reported."""
SEQUENCE = 0.8
"""Differing bits of images with neighboring numbers, over those of others, below which they look like frames of a video."""
MAX_NAMED = 4
"""Duplicates of an image that a case names and shows."""


def role(split: str) -> Role:
    """Guess from its name what a split is for.

    ``val*``, ``test*``, ... are for scoring, ``trainval*``, ``all``, ``default`` for both, others for training.
    VOC's trainval contains val by design, so it leaks nothing unless one scores on val after training on it.
    """
    if re.match(r"(mini)?val|test|dev|eval|holdout", split, re.IGNORECASE):
        return "scored"
    if re.match(r"train_?(and)?_?val|all\b|all_|default\b|full\b", split, re.IGNORECASE):
        return "both"
    return "trained"


def shared_ids(splits: Sequence[SplitList]) -> Iterator[Case]:
    """Yield ids in both a scored and a trained split, and scored splits that overlap without one containing the other.

    Trained splits may overlap each other (trainaug contains train).
    """
    for one, other in combinations(splits, 2):
        common = set(one.ids) & set(other.ids)
        roles = {role(one.name), role(other.name)}
        if roles == {"scored", "trained"}:
            yield from (Case("same-id", name, f"{one.name}, {other.name}") for name in one.ids if name in common)
        elif roles == {"scored"} and common and len(common) < min(len(one.ids), len(other.ids)):
            yield Case("overlap", f"{one.name}, {other.name}", f"{len(common)} ids, e.g. {min(common)}")


def sequences(splits: Sequence[SplitList], images: dict[str, ImageFacts]) -> Iterator[Case]:
    """Yield videos, by the numbers at the end of ids, with frames for scoring beside frames that are trained on."""
    roles = {name: role(split.name) for split in splits for name in split.ids if role(split.name) != "both"}
    groups: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for name, facts in images.items():
        match = re.fullmatch(r"(.*?)(\d{1,18})(\D*)", name)
        if match and name in roles and facts.fingerprint is not None and facts.fingerprint.signs.any():
            groups.setdefault((match[1], match[3]), []).append((int(match[2]), name))
    for (before, after), numbered in groups.items():
        frames = [name for _, name in sorted(numbered)]
        if len(frames) < MIN_FRAMES or len({roles[name] for name in frames}) == 1:
            continue
        signs = np.stack([print_.signs for name in frames if (print_ := images[name].fingerprint)]).astype(np.float32)
        apart = signs.shape[1] - signs @ signs.T
        far = np.abs(np.subtract.outer(np.arange(len(frames)), np.arange(len(frames)))) >= len(frames) // 4
        if np.median(apart.diagonal(1)) > SEQUENCE * np.median(apart[far]):
            continue
        pairs = [pair for pair in pairwise(frames) if roles[pair[0]] != roles[pair[1]]]
        beside = {name: pair for pair in pairs for name in pair if roles[name] == "scored"}
        if len(beside) >= MIN_BESIDE:
            one, other = next(iter(beside.values()))
            detail = f"{counted(len(beside), 'frame')} for scoring, such as {one} and {other}"
            yield Case("sequence", f"{before}*{after}", detail, (images[one].path, images[other].path))


def similar_images(splits: Sequence[SplitList], images: dict[str, ImageFacts]) -> Iterator[Case]:
    """Yield images that are the same or nearly the same as another; leaks if one is scored and the other trained on."""
    prints = {name: facts.fingerprint for name, facts in images.items() if facts.fingerprint is not None}
    names = list(prints)
    used_in: dict[Role, dict[str, list[str]]] = {"scored": {}, "trained": {}, "both": {}}
    for split in splits:
        for name in split.ids:
            used_in[role(split.name)].setdefault(name, []).append(split.name)
    for group in near_duplicates(list(prints.values())):
        members = [names[index] for index in group]
        leaked: set[str] = set()
        for name in members:
            others = [other for other in members if other in used_in["trained"] and other != name]
            if name in used_in["scored"] and others:
                same = [other for other in others if prints[other].digest == prints[name].digest]
                twin = (same or others)[0]
                leaked |= {name, twin}
                detail = f"{', '.join(used_in['scored'][name])}; {twin} in {', '.join(used_in['trained'][twin])}"
                yield Case("leak" if same else "near-leak", name, detail, (images[name].path, images[twin].path))
        rest = [name for name in members if name not in leaked]
        if len(rest) > 1:
            more = f" and {len(rest) - MAX_NAMED} more" if len(rest) > MAX_NAMED else ""
            kind = "duplicate" if len({prints[name].digest for name in rest}) < len(rest) else "near-duplicate"
            shown = tuple(images[name].path for name in rest[:MAX_NAMED])
            yield Case(kind, rest[0], f"and {', '.join(rest[1:MAX_NAMED])}{more}", shown)
