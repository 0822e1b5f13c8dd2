"""Compare two models, or several runs a side, that were scored on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vocseg.errors import InputError
from vocseg.evaluation.record import Record
from vocseg.evaluation.result import Evaluation, result_files
from vocseg.evaluation.statistics import (
    Floats,
    Interval,
    as_number,
    as_pair,
    bootstrap,
    leave_one_out,
    percentile_interval,
    permutation_p_value,
    scores_of,
)
from vocseg.utils.arguments import checked
from vocseg.utils.files import refuse_to_replace, write_json
from vocseg.utils.text import counted

RESAMPLES = 10_000
Runs = str | Path | Evaluation | Sequence[str | Path | Evaluation]


@dataclass(frozen=True)
class Difference:
    """A score of the first and the second side, their difference (second minus first), and its 95 % interval; fractions."""

    first: float | None
    second: float | None
    difference: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Comparison:
    """The difference between two sides, B minus A, over the same images.

    ``per_class``: of the IoU, by name. ``p_value``: how often a difference in mIoU as large as this comes about if the
    sides are exchanged image by image at random. ``images``: id and effect of each image, by how much the difference
    in mIoU would be smaller without it, from the largest gain to the largest loss. ``spread``: standard deviation of
    mIoU over the runs of each side; None for one run.

    >>> import vocseg
    >>> from vocseg.data.samples import FOLDER
    >>> result = vocseg.evaluate("vocseg-s", FOLDER, "samples", device="cpu")
    >>> vocseg.compare(result, result).per_class["cat"].difference
    0.0
    """

    names: tuple[str, str]
    miou: Difference
    per_class: dict[str, Difference]
    p_value: float
    images: tuple[tuple[str, float], ...]
    runs: tuple[int, int]
    spread: tuple[float | None, float | None]

    def __repr__(self) -> str:
        points = "-" if self.miou.difference is None else f"{100 * self.miou.difference:+.2f} points"
        return f"Comparison({points} of mIoU, p = {self.p_value:.4f}, {counted(len(self.images), 'image')})"

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        return {
            "a": self.names[0], "b": self.names[1], "runs": list(self.runs), "spread": list(self.spread),
            "miou": [self.miou.first, self.miou.second], "difference": self.miou.difference,
            "interval": as_pair(self.miou.interval), "p_value": self.p_value, "resamples": RESAMPLES,
            "per_class": {
                name: {"iou": [row.first, row.second], "difference": row.difference, "interval": as_pair(row.interval)}
                for name, row in self.per_class.items()
            },
            "images": [{"id": name, "effect": effect} for name, effect in self.images],
        }  # fmt: skip

    def save(self, path: str | Path) -> None:
        """Write the comparison as JSON; may raise OutputError."""
        write_json(Path(path), self.to_dict())


@checked
def compare(a: Runs, b: Runs, *, seed: int = 0, json: str | Path | None = None) -> Comparison:
    """Compare two sides on the same images: folders of results (or :class:`Evaluation`), or several runs a side.

    The interval is the paired percentile bootstrap over images (and over the runs of a side, if it has several), of
    10,000 resamples, seeded. The score of a side is the mean over its runs. Raises InputError if the sides were not
    scored on the same images, ground truth and classes, DataError for unreadable results, OutputError if ``json`` cannot
    be written or would replace a file of the results.

    >>> import vocseg
    >>> from vocseg.data.samples import FOLDER
    >>> result = vocseg.evaluate("vocseg-s", FOLDER, "samples", device="cpu")
    >>> vocseg.compare(result, result)
    Comparison(+0.00 points of mIoU, p = 1.0000, 4 images)
    """
    read = [run for side in (a, b) for run in _runs(side) if not isinstance(run, Evaluation)]
    refuse_to_replace([None if json is None else Path(json)], [file for folder in read for file in result_files(folder)])
    sides = [_loaded(runs) for runs in (a, b)]
    names = tuple(", ".join(name for name, _ in side) for side in sides)
    name, record = sides[0][0]
    reference = name, record.subset(sorted(record.ids))  # resamples are drawn by place
    counts = [[_aligned(record, reference, name).counts for name, record in side] for side in sides]
    classes, ids = reference[1].classes, reference[1].ids
    if len(ids) < 2:
        raise InputError("a comparison needs two images or more")
    observed = [np.mean([scores_of(run.sum(0)) for run in side], 0) for side in counts]
    drawn = _resampled(counts, seed)
    without = [np.mean([leave_one_out(run) for run in side], 0) for side in counts]
    changes = without[1] - without[0]
    spread = np.where(np.isnan(changes).any(0), np.nan, drawn[1] - drawn[0])  # of one image alone nothing is known
    rows = [
        Difference(as_number(first), as_number(second), as_number(second - first), percentile_interval(values))
        for first, second, values in zip(*observed, spread.T, strict=True)
    ]
    effects = np.nan_to_num(observed[1][-1] - observed[0][-1] - changes[:, -1])
    order = np.lexsort((np.array(ids), -effects))
    result = Comparison(
        names=(names[0], names[1]),
        miou=rows[-1],
        per_class=dict(zip(classes, rows[:-1], strict=True)),
        p_value=permutation_p_value(counts[0], counts[1], seed=seed),
        images=tuple((ids[place], float(effects[place])) for place in order),
        runs=(len(counts[0]), len(counts[1])),
        spread=(_spread(counts[0]), _spread(counts[1])),
    )
    if json is not None:
        result.save(json)
    return result


def _runs(side: Runs) -> list[str | Path | Evaluation]:
    return [side] if isinstance(side, str | Path | Evaluation) else list(side)


def _loaded(side: Runs) -> list[tuple[str, Record]]:
    """Return the name and the record of each run of a side."""
    if not _runs(side):
        raise InputError("a side of the comparison has no results")
    loaded = []
    for run in _runs(side):
        result = run if isinstance(run, Evaluation) else Evaluation.load(run)
        name = str(result.about.get("model") or result.about.get("masks") or "result") if run is result else str(run)
        if result.record is None:
            raise InputError(f"{name} has no counts of each image; evaluate again with --out")
        loaded.append((name, result.record))
    return loaded


def _aligned(record: Record, reference: tuple[str, Record], name: str) -> Record:
    """Return a record in the order of the reference; InputError unless both are about the same images and truth."""
    first_name, first = reference
    if record.classes != first.classes:
        raise InputError(f"{name} and {first_name} have other classes: {record.classes} and {first.classes}")
    only = sorted(set(record.ids) ^ set(first.ids))
    if only:
        where = name if only[0] in record.ids else first_name
        raise InputError(
            f"{name} and {first_name} were not scored on the same images: {len(only)} differ; {only[0]} is only in {where}"
        )
    aligned = record.subset(first.ids)
    other = [image for image, own, truth in zip(first.ids, aligned.truth, first.truth, strict=True) if own != truth]
    if other:
        raise InputError(
            f"{name} and {first_name} were scored against other ground truth: {len(other)} masks differ, first {other[0]}"
        )
    return aligned


def _resampled(counts: Sequence[Sequence[Floats]], seed: int) -> list[Floats]:
    """Return the resampled scores of each side, means over its runs; with several runs these are drawn anew too."""
    drawn = bootstrap([run for side in counts for run in side], RESAMPLES, seed)
    random = np.random.default_rng((seed, 1))
    sides, start = [], 0
    for side in counts:
        own = np.stack(drawn[start : start + len(side)])
        start += len(side)
        picked = random.integers(len(side), size=(len(side), RESAMPLES))
        sides.append(own[picked, np.arange(RESAMPLES)].mean(0))
    return sides


def _spread(side: Sequence[Floats]) -> float | None:
    values = [scores_of(run.sum(0))[-1] for run in side]
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
