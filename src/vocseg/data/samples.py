"""The photographs that come with the package, in VOC layout."""

from __future__ import annotations

from pathlib import Path

from vocseg.data.dataset import VocDataset
from vocseg.data.layout import VocFolder

FOLDER = Path(__file__).parents[1] / "assets" / "samples"
SPLIT = "samples"


def photographs() -> VocDataset:
    """The split of all of them, with masks of VOC's classes."""
    return VocDataset(VocFolder.find(FOLDER), SPLIT)
