"""What an evaluation returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vocseg.metrics import ClassScore, Scores
from vocseg.utils.files import write_json


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
        return dict(self.about) | head | self.scores.to_dict()

    def save(self, path: str | Path) -> None:
        """Write the scores as JSON to a file ``.json``, or to ``scores.json`` in a folder; may raise OutputError."""
        path = Path(path)
        write_json(path if path.suffix == ".json" else path / "scores.json", self.to_dict())
