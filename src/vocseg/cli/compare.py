"""``vocseg compare``."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vocseg.cli.options import Json
from vocseg.errors import SettingError
from vocseg.utils.files import scores_file

Side = Annotated[list[Path] | None, Parameter(consume_multiple=True, negative=())]


def compare(
    results: Annotated[list[Path] | None, Parameter(negative=())] = None,
    /,
    *,
    a: Side = None,
    b: Side = None,
    out: Path | None = None,
    data: str | None = None,
    seed: int = 0,
    json: Json = None,
) -> None:
    """Compare two models scored on the same images: is B better than A?

    Takes folders that `evaluate` or `score` wrote with `--out`. The interval is a paired bootstrap over images, the
    p-value a sign-flip test; both are about the choice of images. Give several runs a side for the choice of seeds.

    ```
    vocseg compare runs/a/val runs/b/val --out difference
    vocseg compare --a a1/val a2/val a3/val --b b1/val b2/val b3/val
    ```

    Args:
        results: Two folders of results, A and B.
        a: Folders of several runs of A.
        b: Folders of several runs of B.
        out: Write sheets of the images that changed most, with truth, A and B, to this folder (two results only).
        data: Data set of the images for the sheets. Default: that of the results.
        seed: Seed of resamples and permutations.
    """
    sides = _sides(results or [], a or [], b or [])
    if out is not None and max(map(len, sides)) > 1:
        raise SettingError("--out draws sheets for two results; with several runs a side give none")
    for folder in itertools.chain(*sides):
        scores_file(folder)  # fail before torch is imported
    from vocseg.cli.console import say, terminal
    from vocseg.evaluation.compare import compare as run
    from vocseg.evaluation.sheets import save_sheets
    from vocseg.evaluation.table import comparison_report

    comparison = run(*sides, seed=seed, json=json)
    terminal().print(comparison_report(comparison), crop=False)
    if out is not None:
        files = save_sheets(comparison, sides[0][0], sides[1][0], out, data=data)
        say(*map(str, files))


def _sides(results: list[Path], a: list[Path], b: list[Path]) -> tuple[list[Path], list[Path]]:
    if results and (a or b):
        raise SettingError("give two folders, or --a and --b, not both")
    if results and len(results) != 2:
        raise SettingError(f"compare takes two folders of results, not {len(results)}; for several runs a side use --a and --b")
    if not results and not (a and b):
        raise SettingError("give two folders of results, or --a and --b; evaluate and score write them with --out")
    return ([results[0]], [results[1]]) if results else (a, b)
