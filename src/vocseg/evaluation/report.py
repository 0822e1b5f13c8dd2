"""Scores as tables."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from vocseg.evaluation.result import Evaluation
from vocseg.utils.text import counted, percent


def print_evaluation(result: Evaluation, title: str) -> None:
    """Print the per-class table and the summary of an evaluation."""
    console = Console()
    scores = result.scores
    table = Table(header_style="bold")
    table.add_column("class")
    for heading in ("IoU", "precision", "recall", "pixels"):
        table.add_column(heading, justify="right")
    for row in scores.per_class:
        table.add_row(row.name, percent(row.iou), percent(row.precision), percent(row.recall), f"{row.true_pixels:,}")
    loss = "" if result.loss is None else f"  loss {result.loss:.4f}"
    lines = (
        f"[bold]mIoU {percent(scores.miou)}[/]  pixel accuracy {percent(scores.pixel_accuracy)}{loss}",
        f"mean accuracy {percent(scores.mean_accuracy)}  frequency-weighted IoU {percent(scores.frequency_weighted_iou)}",
        f"{counted(result.images, 'image')} of {result.split}, mean over {scores.classes_scored} of {len(scores.per_class)} "
        f"classes, {result.seconds:.1f} s",
    )
    console.print(title, markup=False, highlight=False, soft_wrap=True)
    console.print(table)
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
