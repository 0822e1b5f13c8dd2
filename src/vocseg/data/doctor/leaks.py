"""Pictures on both sides of a split: by id and by content."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Literal

from vocseg.data.doctor.survey import SplitList
from vocseg.data.findings import Case
from vocseg.data.similar import Fingerprint, near_duplicates

Role = Literal["scored", "trained", "both"]


def role(split: str) -> Role:
    """What a split of this name is for: ``val*``, ``test*``, ... are scored; ``trainval*``, ``all``, ``default`` both; others trained on.

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


def alike(splits: Sequence[SplitList], prints: dict[str, Fingerprint], pictures: dict[str, Path]) -> Iterator[tuple[str, Case]]:
    """Pictures that are the same or nearly the same as another: leaks where one is scored and the other trained on.

    Each scored picture is told once, with the closest kind of its counterparts.
    """
    names = list(prints)
    used_in: dict[str, set[str]] = {name: set() for name in names}
    for split in splits:
        for name in split.ids:
            if name in used_in:
                used_in[name].add(split.name)

    def within(name: str, *wanted: Role) -> list[str]:
        return sorted(split for split in used_in[name] if role(split) in wanted)

    for group in near_duplicates([prints[name] for name in names]):
        members = [names[index] for index in group]
        leaking: set[str] = set()
        for scored, trained in product(members, members):
            if scored != trained and within(scored, "scored") and within(trained, "trained") and scored not in leaking:
                twins = [name for name in members if prints[name].digest == prints[scored].digest and within(name, "trained")]
                twins = [name for name in twins if name != scored]
                partner = twins[0] if twins else trained
                leaking |= {scored, *twins, trained}
                detail = f"{', '.join(within(scored, 'scored'))}; {partner} in {', '.join(within(partner, 'trained'))}"
                yield "leak" if twins else "near-leak", Case(scored, detail, (pictures[scored], pictures[partner]))
        rest = [name for name in members if name not in leaking]
        if len(rest) > 1:
            same = len({prints[name].digest for name in rest}) < len(rest)
            shown = ", ".join(rest[1:4]) + (f" and {len(rest) - 4} more" if len(rest) > 4 else "")
            yield "duplicate" if same else "near-duplicate", Case(rest[0], f"and {shown}", tuple(pictures[name] for name in rest[:4]))
