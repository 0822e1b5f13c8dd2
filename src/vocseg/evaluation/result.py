"""What an evaluation gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vocseg.metrics import Scores


@dataclass(frozen=True)
class Evaluation:
    """Scores of a split. ``loss`` is the mean cross entropy of the main output over all valid pixels, None for saved masks."""

    scores: Scores
    loss: float | None
    images: int
    split: str
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        head = {"split": self.split, "images": self.images, "loss": self.loss, "seconds": round(self.seconds, 3)}
        return head | self.scores.to_dict()
