"""The photographs that come with the package, in VOC layout."""

from __future__ import annotations

from pathlib import Path

from vocseg.data.dataset import SplitDataset
from vocseg.data.layout import VocFolder

FOLDER = Path(__file__).parents[1] / "assets" / "samples"
SPLIT = "samples"


def photographs() -> SplitDataset:
    """Return the split of all photographs, with masks of VOC's classes."""
    return SplitDataset(VocFolder.find(FOLDER), SPLIT)
