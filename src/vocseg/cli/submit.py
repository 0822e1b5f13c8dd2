"""``vocseg submit``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from vocseg.cli.options import DataFolder, Json, Network, check_network
from vocseg.data.layout import VocFolder
from vocseg.errors import SettingError


def submit(
    source: Annotated[str | None, Parameter(show_default=False)] = None,
    /,
    *,
    data: DataFolder = "data",
    split: str | None = None,
    on: str | None = None,
    task: Literal["comp5", "comp6"] = "comp6",
    out: Path | None = None,
    check: Path | None = None,
    network: Network = Network(),
    json: Json = None,
) -> None:
    """Make the archive that VOC's test server takes, or check one.

    Masks of all images of a split, `results/VOC2012/Segmentation/comp6_test_cls/<id>.png`, in a `.tar.gz` whose bytes
    depend only on the masks.

    ```
    vocseg submit runs/deeplabv3_resnet101/best.safetensors --data data
    vocseg submit masks --data data --split test --out submission.tar.gz
    vocseg submit runs/deeplabv3_resnet101/best.safetensors --data data --on val
    vocseg submit --check submission.tar.gz --data data
    ```

    Args:
        source: Model file or name; or a folder of masks, one PNG for each image, named by id.
        split: Split list in ImageSets/Segmentation; its images need no masks. Default: test.
        on: Rehearse on a split with ground truth, such as val: make its archive, read it back and score it.
        task: comp5: trained on VOC's own data only. comp6: any other data too.
        out: File to write. Default: TASK_SPLIT_cls.tar.gz.
        check: Examine this archive, made by any tool, and make none; --data has the ids and sizes. Exit code 2 if
            something is wrong.
    """
    if (source is None) == (check is None):
        raise SettingError("give a model or a folder of masks, or --check FILE" + (", not both" if source else ""))
    # All that can be found before torch is imported.
    VocFolder.find(data, masks=on is not None).lines(split or on or "test")
    check_network(network, *([source] if source and not Path(source).is_dir() else []))
    from vocseg.cli.console import log_to_terminal, say, terminal
    from vocseg.utils.text import counted

    if check is not None or source is None:
        _check(Path(str(check)), data, split or on or "test", json)
        return
    from vocseg.evaluation.submission import submit as run
    from vocseg.evaluation.table import evaluation_report

    log_to_terminal()
    result = run(source, data, out, split=split, on=on, task=task, json=json, title="submit", **asdict(network))
    if result.scores is not None:
        terminal().print(evaluation_report(result.scores, f"{result.file} on {result.split} of {data}"), crop=False)
    say(f"written: {result.file}, {counted(result.images, 'mask')} of {result.split} for {result.task}")


def _check(file: Path, data: str, split: str, json: Path | None) -> None:
    from vocseg.cli.console import say
    from vocseg.data.layout import protect_data
    from vocseg.evaluation.submission_check import check_submission

    protect_data(data, [], [json], [file])
    result = check_submission(file, data, split, title="check")
    say(*result.lines())
    if json is not None:
        result.save(json)
    raise SystemExit(0 if result.ok else 2)
