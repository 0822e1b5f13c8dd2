"""Intervals and tests for scores of a sample of images, from counts per image.

The score is a ratio of sums over images, so leaving an image out, or drawing images anew, only subtracts and adds
counts: nothing is predicted twice. All of it is about the choice of images, not about the seed of a training.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CONFIDENCE = 0.95
FEW_IMAGES = 100
"""Below this many images an interval is narrower than it should be, often by much."""
CHUNK = 500
"""Resamples computed at a time: their weights are CHUNK x images numbers."""


class Interval(NamedTuple):
    """Ends of a confidence interval."""

    low: float
    high: float


def as_number(value: float) -> float | None:
    """Return a number for JSON; None for NaN."""
    return None if np.isnan(value) else float(value)


def as_pair(interval: Interval | None) -> list[float] | None:
    """Return the ends of an interval for JSON."""
    return None if interval is None else list(interval)


def ious(hits: Floats, unions: Floats) -> Floats:
    """Divide true positives by unions, any shape; NaN for a class that occurs nowhere."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(unions > 0, hits / unions, np.nan)


def mean_over_classes(values: Floats) -> Floats:
    """Average over the last axis without NaN; NaN if nothing else is there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(values, -1))


def hits_and_unions(matrices: NDArray[np.integer]) -> Floats:
    """Return true positives and unions of each class in confusion matrices, ... x K x K: float64, ... x 2 x K."""
    hits = np.einsum("...kk->...k", matrices)
    unions = matrices.sum(-1, dtype=np.int64) + matrices.sum(-2, dtype=np.int64) - hits
    return np.stack([hits, unions], -2).astype(np.float64)


def scores_of(counts: Floats) -> Floats:
    """Return IoU by class, then mIoU, of sums of :func:`hits_and_unions`, ... x 2 x K: ... x (K + 1)."""
    values = ious(counts[..., 0, :], counts[..., 1, :])
    return np.concatenate([values, mean_over_classes(values)[..., None]], -1)


def leave_one_out(counts: Floats) -> Floats:
    """Return the scores without each image in turn, n x (K + 1), of counts per image, n x 2 x K."""
    return scores_of(counts.sum(0) - counts)


def jackknife(counts: Floats, confidence: float = CONFIDENCE) -> list[Interval | None]:
    """Return intervals of each class's IoU, then of the mIoU; None if one image alone, or none, shows it.

    Jackknife over images with Student's t: Efron and Stein, "The jackknife estimate of variance" (1981). The variance is
    (n - 1) / n times the sum of squared distances of the n leave-one-out scores from their mean.
    """
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    number = len(counts)
    whole = scores_of(counts.sum(0))
    if number < 2:
        return [None] * len(whole)
    left = leave_one_out(counts)
    left = np.sort(left, 0)  # so that the order of the images does not change the last digits
    half = stdtrit(number - 1, (1 + confidence) / 2) * np.sqrt((number - 1) * left.var(0))
    return [
        None if np.isnan(width) else Interval(max(0.0, float(value - width)), min(1.0, float(value + width)))
        for value, width in zip(whole, half, strict=True)
    ]


def resample_weights(number: int, resamples: int, random: np.random.Generator) -> Floats:
    """Draw how often each of ``number`` images is in each bootstrap resample: resamples x number."""
    drawn = random.integers(number, size=(resamples, number)) + np.arange(resamples)[:, None] * number
    return np.bincount(drawn.ravel(), minlength=resamples * number).reshape(resamples, number).astype(np.float64)


def bootstrap(counts: Sequence[Floats], resamples: int = 10_000, seed: int = 0) -> list[Floats]:
    """Return the scores, resamples x (K + 1), of each run in the same resamples of the images (paired).

    ``counts``: n x 2 x K for each run, the images in the same order. The seed makes it repeatable.
    """
    random = np.random.default_rng(seed)
    number = len(counts[0])
    table = np.concatenate([run.reshape(number, -1) for run in counts], 1)
    parts = []
    for start in range(0, resamples, CHUNK):
        weights = resample_weights(number, min(CHUNK, resamples - start), random)
        sums = (weights @ table).reshape(len(weights), len(counts), 2, -1)
        parts.append(scores_of(sums))
    drawn = np.concatenate(parts)
    return [drawn[:, run] for run in range(len(counts))]


def lost_classes(counts: Floats, resamples: int = 1000, seed: int = 0) -> float:
    """Return the share of bootstrap resamples in which a class that occurs in the images occurs nowhere."""
    present = (counts[:, 1] > 0).astype(np.float64)
    present = present[:, present.any(0)]
    weights = resample_weights(len(counts), resamples, np.random.default_rng(seed))
    return float(((weights @ present) == 0).any(1).mean())


def percentile_interval(values: Floats, confidence: float = CONFIDENCE) -> Interval | None:
    """Return the percentile interval of resampled values without NaN; None if there are none."""
    values = values[~np.isnan(values)]
    if not len(values):
        return None
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def permutation_p_value(first: Sequence[Floats], second: Sequence[Floats], permutations: int = 10_000, seed: int = 0) -> float:
    """Return the p-value of a difference in mean mIoU as large as this if the sides were interchangeable image by image.

    Sign-flip test: for each image, a coin decides whether the sides exchange what they predicted. Two-sided; the
    observed assignment counts as one of the permutations, so it is never 0 (Phipson and Smyth, 2010). ``first`` and
    ``second``: counts, n x 2 x K, of the runs of each side. If the sides have different numbers of runs, the runs of
    the shorter one are exchanged several times.
    """
    runs = max(len(first), len(second))
    pairs = [(first[run % len(first)], second[run % len(second)]) for run in range(runs)]
    number = len(first[0])
    totals = [(own.sum(0), other.sum(0)) for own, other in pairs]
    steps = np.concatenate([(other - own).reshape(number, -1) for own, other in pairs], 1)
    observed = abs(_difference(totals, np.zeros((1, runs, *totals[0][0].shape)))[0])
    random = np.random.default_rng(seed)
    reached = 0
    for start in range(0, permutations, CHUNK):
        flips = random.integers(2, size=(min(CHUNK, permutations - start), number)).astype(np.float64)
        moved = (flips @ steps).reshape(len(flips), runs, 2, -1)
        reached += int((np.abs(_difference(totals, moved)) >= observed - 1e-12).sum())
    return (1 + reached) / (1 + permutations)


def _difference(totals: Sequence[tuple[Floats, Floats]], moved: Floats) -> Floats:
    """Return the mean difference in mIoU of the pairs of totals after ``moved`` counts went from the second to the first."""
    differences = [
        scores_of(own + moved[:, run])[:, -1] - scores_of(other - moved[:, run])[:, -1] for run, (own, other) in enumerate(totals)
    ]
    return np.mean(differences, 0)
