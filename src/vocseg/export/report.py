"""The result of an export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocseg.export.parity import Parity


@dataclass(frozen=True)
class ExportReport:
    """An exported file and how its masks compare with those of its model.

    >>> from pathlib import Path
    >>> parity = Parity(images=335, same_pixels=0.9999, miou=0.6995, model_miou=0.6996, seconds=0.05, model_seconds=0.06)
    >>> ExportReport("vocseg-s", Path("vocseg-s.onnx"), 21_300_000, parity).to_dict()["miou"]
    0.6995
    """

    model: str
    """Name or file of the model."""
    file: Path
    """The .onnx file, or the .xml file, which has its .bin beside it."""
    bytes: int
    """Size of the file, with the .bin."""
    parity: Parity

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        return {"model": self.model, "file": str(self.file), "bytes": self.bytes} | self.parity.to_dict()
