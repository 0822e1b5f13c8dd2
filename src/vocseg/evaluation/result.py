"""What an evaluation returns, and its table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vocseg.metrics import ClassScore, Scores
from vocseg.utils.files import write_json
from vocseg.utils.text import counted, percent, portable

if TYPE_CHECKING:
    from rich.console import Group


@dataclass(frozen=True)
class Evaluation:
    """Scores of a split, fractions in 0..1.

    ``loss``: mean cross entropy of the main output over all valid pixels; None for saved masks. ``images``: how many.
    ``seconds``: how long it took. ``about``: what was scored: model, precision and data, or masks and data.

    >>> import vocseg
    >>> from vocseg.data.samples import FOLDER
    >>> result = vocseg.evaluate("vocseg-s", FOLDER, "samples", device="cpu")
    >>> round(result.pixel_accuracy, 1), result.images, result.about["model"]
    (1.0, 4, 'vocseg-s')
    """

    scores: Scores
    loss: float | None
    images: int
    split: str
    seconds: float
    about: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        classes = f"{self.scores.classes_scored} of {len(self.scores.per_class)} classes"
        return f"Evaluation(mIoU {percent(self.miou)} % over {classes}, {counted(self.images, 'image')} of {self.split})"

    @property
    def miou(self) -> float | None:
        """Mean IoU over the classes that occur in the ground truth or the prediction; None if no pixel counts."""
        return self.scores.miou

    @property
    def pixel_accuracy(self) -> float | None:
        """Share of the pixels with the right class."""
        return self.scores.pixel_accuracy

    @property
    def mean_accuracy(self) -> float | None:
        """Mean recall over the classes that occur in the ground truth."""
        return self.scores.mean_accuracy

    @property
    def per_class(self) -> dict[str, ClassScore]:
        """The scores of each class, by name."""
        return {row.name: row for row in self.scores.per_class}

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        head = {"split": self.split, "images": self.images, "loss": self.loss, "seconds": round(self.seconds, 3)}
        return {key: portable(value) for key, value in self.about.items()} | head | self.scores.to_dict()

    def save(self, path: str | Path) -> None:
        """Write the scores as JSON to a file ``.json``, or to ``scores.json`` in a folder; may raise OutputError."""
        path = Path(path)
        write_json(path if path.suffix == ".json" else path / "scores.json", self.to_dict())


def evaluation_report(result: Evaluation, title: str) -> Group:
    """Lay out the per-class table and the summary of an evaluation; print it with ``crop=False``, so that no line is cut."""
    from rich.console import Group
    from rich.table import Column, Table
    from rich.text import Text

    scores = result.scores
    table = Table(
        "class", *(Column(name, justify="right") for name in ("IoU %", "precision %", "recall %", "pixels")), header_style="bold"
    )
    for row in scores.per_class:
        table.add_row(row.name, percent(row.iou), percent(row.precision), percent(row.recall), f"{row.true_pixels:,}")
    summary = Text.assemble(
        (f"mIoU {percent(scores.miou)}", "bold"),
        f"  pixel accuracy {percent(scores.pixel_accuracy)}{'' if result.loss is None else f'  loss {result.loss:.4f}'}\n"
        f"mean accuracy {percent(scores.mean_accuracy)}  frequency-weighted IoU {percent(scores.frequency_weighted_iou)}\n"
        f"{counted(result.images, 'image')} of {result.split}, mean over {scores.classes_scored} of {len(scores.per_class)} "
        f"classes, {result.seconds:.1f} s",
        f"\nnot predicted by the model, so not scored: {result.about['not_scored']}" if result.about.get("not_scored") else "",
        no_wrap=True,
        overflow="ignore",
    )
    return Group(Text(title, no_wrap=True, overflow="ignore"), table, summary)
