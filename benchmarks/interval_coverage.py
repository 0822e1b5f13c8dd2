"""Measure how often the 95 % intervals of scores cover the truth, by drawing samples of real predictions.

    vocseg evaluate vocseg-s --data data --split val_dev --out a
    vocseg evaluate other.safetensors --data data --split val_dev --out b
    python benchmarks/interval_coverage.py a b

The images of the results are the population, and their scores the truth. Images are drawn from it with replacement, as many
as a data set has. A draw covers if the truth lies in the interval that `vocseg evaluate` gives for the mIoU of A (jackknife),
or that `vocseg compare` gives for the difference B - A (paired bootstrap).
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from vocseg.evaluation.result import Evaluation
from vocseg.evaluation.statistics import Floats, bootstrap, jackknife, percentile_interval, scores_of
from vocseg.utils.system import machine


def counts_of(first: str, second: str) -> tuple[Floats, Floats]:
    """Read the counts of two folders of results, in one order of the images."""
    records = [Evaluation.load(folder).record for folder in (first, second)]
    assert records[0] is not None
    assert records[1] is not None
    return records[0].counts, records[1].subset(records[0].ids).counts


def miou(counts: Floats) -> float:
    return float(scores_of(counts.sum(0))[-1])


def coverage(counts: tuple[Floats, Floats], images: int, draws: int, resamples: int) -> tuple[float, ...]:
    """Return, of samples of so many images: the shares whose intervals cover the score and the difference, the mean width of
    the intervals of the score, the mean error of the score, and the share of samples that lack a class."""
    truth, difference = miou(counts[0]), miou(counts[1]) - miou(counts[0])
    random = np.random.default_rng(images)
    rows = []
    for draw in range(draws):
        drawn = random.integers(len(counts[0]), size=images)
        one, other = (side[drawn] for side in counts)
        own = jackknife(one)[-1]
        scores = bootstrap([one, other], resamples, draw)
        paired = percentile_interval(scores[1][:, -1] - scores[0][:, -1])
        assert own is not None
        assert paired is not None
        lost = (one[:, 1].sum(0) == 0).any()
        rows.append(
            (own.low <= truth <= own.high, paired.low <= difference <= paired.high, own.high - own.low, miou(one) - truth, lost)
        )
    return tuple(np.mean(rows, 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", help="folder of results")
    parser.add_argument("b", help="folder of results on the same images")
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 100, 161, 335])
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=1000)
    arguments = parser.parse_args()
    counts = counts_of(arguments.a, arguments.b)
    print(f"{machine()}; population {len(counts[0])} images, mIoU {100 * miou(counts[0]):.2f} and {100 * miou(counts[1]):.2f} %")
    spread = 100 * math.sqrt(0.95 * 0.05 / arguments.draws)
    print(f"{arguments.draws} draws; standard error of a coverage of 95 %: {spread:.1f} points")
    print("| images | covers the mIoU, % | covers the difference, % | mean width, points | mean error, points | lack a class, % |")
    print("|---|---|---|---|---|---|")
    for images in arguments.sizes:
        own, paired, width, error, lost = coverage(counts, images, arguments.draws, arguments.resamples)
        print(f"| {images} | {100 * own:.1f} | {100 * paired:.1f} | {100 * width:.1f} | {100 * error:+.1f} | {100 * lost:.0f} |")


if __name__ == "__main__":
    main()
