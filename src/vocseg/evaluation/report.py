"""Scores as tables."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from vocseg.evaluation.result import Evaluation
from vocseg.utils.text import counted, percent


def evaluation_report(result: Evaluation, title: str) -> Group:
    """Lay out the per-class table and the summary of an evaluation; print it with ``crop=False``, so that no line is cut."""
    scores = result.scores
    table = Table(header_style="bold")
    table.add_column("class")
    for heading in ("IoU", "precision", "recall", "pixels"):
        table.add_column(heading, justify="right")
    for row in scores.per_class:
        table.add_row(row.name, percent(row.iou), percent(row.precision), percent(row.recall), f"{row.true_pixels:,}")
    loss = "" if result.loss is None else f"  loss {result.loss:.4f}"
    lines: tuple[str | Text, ...] = (
        Text.assemble((f"mIoU {percent(scores.miou)}", "bold"), f"  pixel accuracy {percent(scores.pixel_accuracy)}{loss}"),
        f"mean accuracy {percent(scores.mean_accuracy)}  frequency-weighted IoU {percent(scores.frequency_weighted_iou)}",
        f"{counted(result.images, 'image')} of {result.split}, mean over {scores.classes_scored} of {len(scores.per_class)} "
        f"classes, {result.seconds:.1f} s",
    )
    return Group(_line(title), table, *(_line(line) for line in lines))


def _line(text: str | Text) -> Text:
    line = Text(text) if isinstance(text, str) else text
    line.no_wrap, line.overflow = True, "ignore"
    return line
