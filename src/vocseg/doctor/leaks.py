"""Images on both sides of a split: by id and by content."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Literal

from vocseg.data.near_duplicates import Fingerprint, near_duplicates
from vocseg.doctor.issues import Case
from vocseg.doctor.survey import SplitList

Role = Literal["scored", "trained", "both"]


def role(split: str) -> Role:
    """What a split of this name is for.

    ``val*``, ``test*``, ... are scored, ``trainval*``, ``all``, ``default`` both, others trained on.
    VOC's trainval is train and val by design, so it leaks nothing as long as one does not score on val after training on it.
    """
    if re.match(r"(mini)?val|test|dev|eval|holdout", split, re.IGNORECASE):
        return "scored"
    if re.match(r"train_?(and)?_?val|all\b|all_|default\b|full\b", split, re.IGNORECASE):
        return "both"
    return "trained"


def shared_ids(splits: Sequence[SplitList]) -> Iterator[tuple[str, Case]]:
    """Ids in a scored split and a trained-on one; scored splits that overlap without one holding the other.

    Trained-on splits may overlap as they like (trainaug holds train).
    """
    for one, other in combinations(splits, 2):
        common = set(one.ids) & set(other.ids)
        roles = {role(one.name), role(other.name)}
        if roles == {"scored", "trained"}:
            yield from (("same-id", Case(name, f"{one.name}, {other.name}")) for name in one.ids if name in common)
        elif roles == {"scored"} and common and len(common) < min(len(one.ids), len(other.ids)):
            yield "overlap", Case(f"{one.name}, {other.name}", f"{len(common)} ids, e.g. {min(common)}")


def alike(splits: Sequence[SplitList], prints: dict[str, Fingerprint], images: dict[str, Path]) -> Iterator[tuple[str, Case]]:
    """Images that are the same or nearly the same as another: leaks where one is scored and the other trained on."""
    names = list(prints)
    used_in: dict[Role, dict[str, list[str]]] = {"scored": {}, "trained": {}, "both": {}}
    for split in splits:
        for name in split.ids:
            used_in[role(split.name)].setdefault(name, []).append(split.name)
    for group in near_duplicates([prints[name] for name in names]):
        members = [names[index] for index in group]
        trained = [name for name in members if name in used_in["trained"]]
        leaked: set[str] = set()
        for name in members:
            others = [other for other in trained if other != name]
            if name not in used_in["scored"] or not others:
                continue
            same = [other for other in others if prints[other].digest == prints[name].digest]
            twin = (same or others)[0]
            leaked |= {name, twin}
            detail = f"{', '.join(used_in['scored'][name])}; {twin} in {', '.join(used_in['trained'][twin])}"
            yield "leak" if same else "near-leak", Case(name, detail, (images[name], images[twin]))
        rest = [name for name in members if name not in leaked]
        if len(rest) > 1:
            more = f" and {len(rest) - 4} more" if len(rest) > 4 else ""
            case = Case(rest[0], f"and {', '.join(rest[1:4])}{more}", tuple(images[name] for name in rest[:4]))
            yield "duplicate" if len({prints[name].digest for name in rest}) < len(rest) else "near-duplicate", case
