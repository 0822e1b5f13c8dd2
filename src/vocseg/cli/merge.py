"""``vocseg merge``."""

from __future__ import annotations

from vocseg.cli.options import JsonOutput, Output
from vocseg.utils.shards import find_shards


def merge(results: list[Output], /, *, out: Output | None = None, data: str | None = None, json: JsonOutput = None) -> None:
    """Put the results of shards together, as if one run had made them.

    Of `evaluate`, `score`, `data errors`, `data doctor` and `predict`, run with `--shard I/N`. Shards that are missing,
    given twice, or of other models, settings or data are errors that name them. The exit code is that of one run:
    2 if the doctor found errors or `predict` skipped images.

    ```
    vocseg merge results --out results
    vocseg merge s3://bucket/results --out s3://bucket/results
    vocseg merge node1/results node2/results --out results --json scores.json
    ```

    Args:
        results: Folders that hold shards, or the folders of shards, `shard-I-of-N`, or their URLs.
        out: Write the whole result to this folder, which may be the one that holds the shards.
        data: Where the data set is now, for label errors and the doctor. Default: where it was.
    """
    shards = find_shards(results)  # fail before torch is imported
    from vocseg.cli.console import say, say_written, terminal
    from vocseg.cli.data_errors import say_errors
    from vocseg.doctor.examine import Diagnosis
    from vocseg.doctor.report import diagnosis_report
    from vocseg.evaluation.merge import merge as run
    from vocseg.evaluation.result import Evaluation
    from vocseg.evaluation.table import evaluation_report
    from vocseg.inference.predictions import check_skipped
    from vocseg.utils.stand_ins import published
    from vocseg.utils.text import counted

    result = run([*results], out, data=data, json=json)
    console = terminal()
    if isinstance(result, Evaluation):
        console.print(evaluation_report(result), crop=False)
    elif isinstance(result, Diagnosis):
        console.print(diagnosis_report(result, console.width), crop=False)
    elif isinstance(result, dict):
        known = f", {counted(result['existing'], 'image')} done before" if "existing" in result else ""
        say(f"{counted(result['images'], 'image')}{known}, {len(result['skipped'])} skipped", *result.get("files", []))
        places = dict.fromkeys(str(published(folder.parent)) for folder in shards)
        if out is not None and str(out).rstrip("/") not in places:
            say(f"masks and other files of single images stay in {', '.join(places)}")
    else:
        say_errors(result)
    say_written(out, json)
    if isinstance(result, Diagnosis):
        raise SystemExit(result.exit_code())
    if isinstance(result, dict):
        check_skipped([row["error"] for row in result["skipped"]], result["images"] + len(result["skipped"]))
