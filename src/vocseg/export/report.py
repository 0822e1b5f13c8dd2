"""What an export gives, for reading."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from vocseg.export.export import file_bytes
from vocseg.export.parity import Parity
from vocseg.utils.text import counted, percent


def print_parity(parity: Parity, model: str, path: Path) -> None:
    """Print how the file and its model compare."""
    table = Table(title=f"{model} and {path}, on {counted(parity.images, 'image')}")
    table.add_column("")
    scored = parity.miou is not None
    for title in (*(["mIoU"] if scored else []), "ms an image"):
        table.add_column(title, justify="right")
    rows = [(model, parity.model_miou, parity.model_seconds), (path.name, parity.miou, parity.seconds)]
    for name, miou, seconds in rows:
        table.add_row(name, *([percent(miou)] if scored else []), f"{1000 * seconds:.1f}")
    console = Console()
    console.print(table)
    console.print(f"{parity.same:.3%} of the pixels have the same class; {path} {file_bytes(path) / 1e6:.1f} MB", highlight=False)
