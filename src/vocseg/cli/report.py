"""``vocseg report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vocseg.utils.files import scores_file


def report(
    results: Path,
    other: Annotated[Path | None, Parameter(show_default=False)] = None,
    /,
    *,
    out: Path | None = None,
    data: str | None = None,
    seed: int = 0,
) -> None:
    """Write a page about a result, or about the difference between two.

    Takes folders that `evaluate` or `score` wrote with `--out`. The page is one HTML file that loads nothing: scores with
    intervals, classes, confusion, calibration, boundaries, sizes, and the worst images, if their data set is at hand.

    ```
    vocseg report runs/a/val
    vocseg report runs/a/val --data data --out a.html
    vocseg report runs/a/val runs/b/val
    ```

    Args:
        results: Folder of results.
        other: Another folder of results on the same images: the page is about the difference, B minus A.
        out: File to write. Default: report.html in the folder; of two folders comparison.html in the second.
        data: Data set of the images. Default: that of the results.
        seed: Seed of the resamples of a comparison.
    """
    for folder in (results, *([other] if other else [])):
        scores_file(folder)  # fail before torch is imported
    from vocseg.cli.console import say
    from vocseg.evaluation.report import report as run

    say(f"written: {run(results, other, out=out, data=data, seed=seed)}")
