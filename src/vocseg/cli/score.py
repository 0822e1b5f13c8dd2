"""``vocseg score``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from vocseg.cli.options import Flag, JsonOutput, Results, ShardOf, Truth
from vocseg.cli.sharded import check_conventions, find_shard, run_sharded
from vocseg.errors import DataError


def score(
    masks: Path,
    /,
    *,
    truth: Truth = Truth(),
    conventions: Flag = False,
    shard: ShardOf = None,
    out: Results = None,
    json: JsonOutput = None,
) -> None:
    """Score a folder of mask PNGs from any tool.

    One mask per image of the split, named `<id>.png`: palette or grayscale PNG of the image's size, values are class
    ids. One confusion matrix over all images, without void pixels, as in the VOC devkit. Also boundary
    IoU, mIoU near boundaries, and recall by size.

    ```
    vocseg score masks --data data --split val
    vocseg score masks --data data --json scores.json
    vocseg score masks --data data --conventions
    vocseg score masks --data data --out results --shard 1/8
    ```

    Args:
        masks: Folder of the predicted masks.
        conventions: Also print the mIoU as other tools compute it, to compare with their numbers.
    """
    truth.check()  # fail before torch is imported
    if not masks.is_dir():
        raise DataError(f"no folder of masks {masks}")
    part = find_shard(shard, out)
    check_conventions(conventions, part)
    from vocseg.cli.console import log_to_terminal, say_written, terminal
    from vocseg.evaluation.score import score as run
    from vocseg.evaluation.table import conventions_report, evaluation_report

    log_to_terminal()
    result = run_sharded(
        lambda _, file: run(
            masks, **asdict(truth), out=out, shard=part and str(part), json=file, title=f"score {truth.split}"
        ),
        lambda result: result.images, shard, out, json=json,
    )  # fmt: skip
    if result is None:
        return
    terminal().print(evaluation_report(result), crop=False)
    if conventions:
        terminal().print(conventions_report(result), crop=False)
    say_written(out, json)
