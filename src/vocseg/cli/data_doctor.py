"""``vocseg data doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vocseg.cli.options import JsonOption
from vocseg.data.layout import protect_data


def doctor(
    data: str,
    /,
    *,
    splits: Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())] = None,
    mask_dir: str | None = None,
    strict: Annotated[bool, Parameter(negative=())] = False,
    json: JsonOption = None,
    html: Path | None = None,
    fix: Path | None = None,
    void: Annotated[list[int] | None, Parameter(consume_multiple=True, negative=())] = None,
) -> None:
    """Check a data set, and repair a copy of it.

    Reads every image and mask once and tells what is wrong with files, masks, labels and splits, leaks between
    splits by content included, and what to do about it. The exit code is 0, 2 with errors, and with `--strict` 1 with warnings.

    ```
    vocseg data doctor data
    vocseg data doctor data --splits train val --strict --json doctor.json --html doctor.html
    vocseg data doctor data --fix repaired --void 11
    ```

    Parameters
    ----------
    data
        Folder that holds VOCdevkit, VOCdevkit itself, or a folder in VOC layout.
    splits
        Splits to check; all by default.
    mask_dir
        Folder of the masks. By default SegmentationClass, and for splits that it lacks masks of, another SegmentationClass*.
    strict
        Exit with 1 where there are warnings.
    html
        Write a page with example images.
    fix
        Write a repaired copy to this new folder, and a log of each change.
    void
        Labels to become void (255) in the copy.
    """
    protect_data(data, [mask_dir], [json, html])  # what is not there is told before torch is imported
    from vocseg.doctor.examine import examine
    from vocseg.doctor.page import write_page
    from vocseg.doctor.repair import repair, require_empty
    from vocseg.doctor.report import print_diagnosis, print_repairs, verdict
    from vocseg.errors import SettingError
    from vocseg.utils.files import write_json

    if void and fix is None:
        raise SettingError("--void needs --fix")
    if void and not all(0 <= label < 255 for label in void):
        raise SettingError(f"--void takes labels 0 to 254, not {', '.join(map(str, void))}")
    if fix is not None:
        require_empty(fix)
    diagnosis = examine(data, mask_dir, splits)
    print_diagnosis(diagnosis)
    if json is not None:
        write_json(json, diagnosis.to_dict())
    if html is not None:
        write_page(diagnosis, html)
    if fix is not None:
        repairs = repair(diagnosis, fix, void or ())
        print_repairs(repairs, str(fix))
        diagnosis = examine(fix, mask_dir)
        print(f"the copy: {verdict(diagnosis)}")
        for finding in diagnosis.findings:
            if finding.severity != "note":
                print(f"  {finding.severity}: {finding.text} ({finding.kind}: {len(finding.cases)})")
    raise SystemExit(diagnosis.exit_code(strict))
