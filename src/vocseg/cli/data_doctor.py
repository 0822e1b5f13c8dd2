"""``vocseg data doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vocseg.cli.options import AnyMasks, DataFolder, Flag, Json, ShardOf
from vocseg.cli.sharded import find_shard, run_sharded
from vocseg.data.layout import protect_data

SEVERAL = Parameter(consume_multiple=True, negative=())


def doctor(
    data: DataFolder,
    /,
    *,
    splits: Annotated[list[str] | None, SEVERAL] = None,
    mask_dir: AnyMasks = None,
    strict: Flag = False,
    json: Json = None,
    html: Path | None = None,
    out: Path | None = None,
    shard: ShardOf = None,
    fix: Path | None = None,
    void: Annotated[list[int] | None, SEVERAL] = None,
) -> None:
    """Check a data set and, with --fix, write a repaired copy.

    Read every image and mask once; report problems of files, masks, labels and splits, including images that occur in
    two splits, and how to solve them. Exit code: 0, 2 if there are errors, 1 if there are warnings and `--strict` is
    set.

    ```
    vocseg data doctor data --splits train val --strict --json doctor.json --html doctor.html
    vocseg data doctor data --fix repaired --void 11
    vocseg data doctor data --out doctor --shard 1/8
    ```

    Args:
        splits: Splits to check. Default: all.
        strict: Exit with 1 if there are warnings.
        html: Write a page with example images to this file.
        out: Write `doctor.json` and the page, `doctor.html`, to this folder.
        fix: Write a repaired copy, and a log of each change, to this new folder.
        void: Labels that become void (255) in the copy.
    """
    protect_data(data, [mask_dir], [json, html])  # fail before torch is imported
    part = find_shard(shard, out)
    from vocseg.cli.console import log_to_terminal, terminal
    from vocseg.doctor.examine import examine
    from vocseg.doctor.repair import require_empty
    from vocseg.doctor.report import diagnosis_report, repairs_report
    from vocseg.errors import SettingError

    if void and fix is None:
        raise SettingError("--void needs --fix")
    if void and not all(0 <= label < 255 for label in void):
        raise SettingError(f"--void takes labels 0 to 254, not {', '.join(map(str, void))}")
    if part is not None and (strict or any(file is not None for file in (fix, html, json))):
        what = "--fix, --html, --json and --strict need all images"
        raise SettingError(f"{what}, not --shard; `vocseg merge` writes both files of all shards")
    if fix is not None:
        require_empty(fix)
    log_to_terminal()
    diagnosis = run_sharded(
        lambda *_: examine(data, mask_dir=mask_dir, splits=splits, out=out, shard=part and str(part)),
        lambda diagnosis: len(diagnosis.images), shard, out,
    )  # fmt: skip
    if diagnosis is None:
        return
    console = terminal()
    console.print(diagnosis_report(diagnosis, console.width), crop=False)
    if json is not None:
        diagnosis.save(json)
    if html is not None:
        diagnosis.save_page(html)
    if fix is not None:
        repairs = diagnosis.repair(fix, void or ())
        diagnosis = examine(fix, mask_dir=mask_dir)
        console.print()
        console.print(repairs_report(repairs, str(fix), diagnosis), crop=False)
    raise SystemExit(diagnosis.exit_code(strict))
