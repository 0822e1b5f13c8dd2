"""Images that occur in splits for training and in splits for scoring: by id and by content."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Literal

from vocseg.data.near_duplicates import near_duplicates
from vocseg.doctor.checks import ImageFacts
from vocseg.doctor.issues import Case
from vocseg.doctor.survey import SplitList

Role = Literal["scored", "trained", "both"]
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
