"""What a call of ``predict`` wrote, and what it had to skip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vocseg.errors import DataError
from vocseg.utils.text import counted

if TYPE_CHECKING:
    from vocseg.convert.simplifier import Simplification

Format = Literal[
    "mask", "mask-video", "overlay", "cutout", "probabilities", "areas", "coco", "labelme", "yolo", "geojson", "cvat",
    "label-studio",
]  # fmt: skip
"""What ``predict`` writes; :mod:`vocseg.inference.formats` has a sink for each."""
NAMED = 3
"""How many unreadable images an error names."""


@dataclass(frozen=True)
class Prediction:
    """What was written for an image; ``name``: its path below the folder searched; ``areas``: shares of classes, 0..1.

    ``mask``, ``overlay``: their files, if they were wanted, or the URLs of these; ``files``: those of other formats.
    ``network_size``: height and width at which the network saw the image, if smaller than it is. ``notes``: how its file was
    read, if that may surprise.
    """

    image: Path | str
    name: str
    mask: Path | str | None
    overlay: Path | str | None
    seconds: float
    areas: dict[str, float]
    network_size: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()
    files: tuple[Path | str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        row: dict[str, Any] = {"image": str(self.image)}
        row |= {} if self.mask is None else {"mask": str(self.mask)}
        row |= {"seconds": round(self.seconds, 4), "areas": self.areas}
        row |= {} if self.overlay is None else {"overlay": str(self.overlay)}
        row |= {} if self.network_size is None else {"network_size": list(self.network_size)}
        row |= {"files": [str(file) for file in self.files]} if self.files else {}
        return row | ({"notes": list(self.notes)} if self.notes else {})


@dataclass(frozen=True)
class Predictions:
    """What :func:`vocseg.predict` wrote, and ``errors``: the images it had to skip.

    ``total``: how many images there were, except the ``existing``: those with complete files of an earlier call.
    ``shared``: files that all images share. ``simplified``: what leaving out corners of polygons lost, if that was wanted.
    """

    model: str
    images: tuple[Prediction, ...]
    errors: dict[Path | str | int, DataError]
    total: int
    existing: int = 0
    shared: tuple[Path | str, ...] = ()
    simplified: Simplification | None = None

    def __repr__(self) -> str:
        return f"Predictions({len(self.images)} of {counted(self.total, 'image')} by {self.model}, {len(self.errors)} skipped)"

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        skipped = [{"image": str(path), "error": str(error)} for path, error in self.errors.items()]
        rows = [row.to_dict() for row in self.images]
        found = {"model": self.model, "images": len(rows), "predictions": rows, "skipped": skipped}
        found |= {"existing": self.existing} if self.existing else {}
        found |= {} if self.simplified is None else {"simplified": self.simplified.to_dict()}
        return found | ({"files": [str(file) for file in self.shared]} if self.shared else {})

    def check(self, named: int = NAMED) -> None:
        """Raise DataError if images were skipped; it names the first three, or so many as ``named`` says."""
        errors = list(self.errors.values())
        if self.total == 1 and errors:
            raise errors[0]
        check_skipped([*map(str, errors)], self.total, named)


def check_skipped(errors: Sequence[str], total: int, named: int = NAMED) -> None:
    """Raise DataError, which names the first, if images of ``total`` were skipped."""
    if errors:
        more = [f"and {len(errors) - named} more"] if len(errors) > named else []
        names = ": " + "; ".join([*errors[:named], *more]) if named else ""
        raise DataError(f"{len(errors)} of {counted(total, 'image')} skipped{names}")
