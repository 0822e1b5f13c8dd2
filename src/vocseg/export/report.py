"""The result of an export, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from vocseg.export.parity import Parity
from vocseg.utils.text import counted, percent


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

    def layout(self) -> Group:
        """Lay out the comparison for a terminal."""
        parity = self.parity
        scored = parity.miou is not None
        title = f"{self.model} and {self.file} on {counted(parity.images, 'image')}"
        table = Table(title=Text(title, no_wrap=True, overflow="ignore"), title_justify="left")
        table.add_column("")
        for title in (*(["mIoU"] if scored else []), "ms per image"):
            table.add_column(title, justify="right")
        rows = [(self.model, parity.model_miou, parity.model_seconds), (self.file.name, parity.miou, parity.seconds)]
        for name, miou, seconds in rows:
            table.add_row(name, *([percent(miou)] if scored else []), f"{1000 * seconds:.1f}")
        agreement = f"{parity.same_pixels:.3%} of the pixels have the same class"
        return Group(table, f"{agreement}; {self.file} {self.bytes / 1e6:.1f} MB")
