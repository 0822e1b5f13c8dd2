"""What is kept of each scored image: counts, from which every statistic is a sum or a resample."""

from __future__ import annotations

import csv
import io
import math
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from vocseg.errors import DataError, InputError, reason
from vocseg.evaluation.counts import Counts, Integers, checked, count_image, shapes
from vocseg.evaluation.statistics import as_number, hits_and_unions, ious, mean_over_classes
from vocseg.metrics import confusion_matrix
from vocseg.utils.files import RECORD_FILES, replacing

ARRAYS, TABLE = RECORD_FILES


def truth_hash(mask: Tensor) -> str:
    """Return a hash of a ground-truth mask (uint8, H x W): equal masks, equal hashes."""
    values = mask.cpu().contiguous().numpy()
    return blake2b(repr(values.shape).encode() + values.tobytes(), digest_size=8).hexdigest()


class CountedImage(NamedTuple):
    """An image's id, the hash of its truth, its summed loss (NaN for saved masks), its matrix, and its other counts."""

    id: str
    truth: str
    loss: Tensor | float
    matrix: Integers
    details: Counts


def count_masks(name: str, prediction: Tensor, truth: Tensor, classes: int) -> CountedImage:
    """Count an image of saved masks, integers, H x W; raises InputError as :func:`confusion_matrix` does."""
    confusion_matrix(prediction, truth, classes)  # looks at the labels
    return CountedImage(name, truth_hash(truth), math.nan, *count_image(truth, prediction, None, classes))


@dataclass(frozen=True, eq=False)
class Record:
    """Counts of each image of a split, in the order of ``ids``.

    ``matrices``: int32, n x K x K, true class x predicted class. ``truth``: a hash
    of each ground-truth mask. ``loss``: sums of the cross entropy over the valid pixels, float64; NaN for saved masks.
    ``details``: counts of boundaries, components and confidence (:data:`vocseg.evaluation.counts.Counts`).

    >>> import torch
    >>> counts = np.array([[[3, 1], [0, 4]], [[8, 0], [0, 0]]], dtype=np.int32)
    >>> record = Record(("background", "cat"), ("a", "b"), ("", ""), counts, np.zeros(2))
    >>> record.subset(["b"]).table()
    [{'id': 'b', 'miou': 1.0, 'pixel_accuracy': 1.0, 'pixels': 8, 'loss': 0.0, 'iou background': 1.0, 'iou cat': None}]
    """

    classes: tuple[str, ...]
    ids: tuple[str, ...]
    truth: tuple[str, ...]
    matrices: NDArray[np.integer[Any]]
    loss: NDArray[np.float64]
    details: Counts = field(default_factory=dict)

    @classmethod
    def of(cls, classes: Sequence[str], images: Sequence[CountedImage]) -> Record:
        """Make a record of images."""
        size = len(classes)
        matrices = np.array([image.matrix for image in images], np.int32).reshape(-1, size, size)
        ids, truth = tuple(image.id for image in images), tuple(image.truth for image in images)
        details = {name: np.array([image.details[name] for image in images]) for name in (images[0].details if images else ())}
        return cls(tuple(classes), ids, truth, matrices, np.array([float(image.loss) for image in images]), details)

    def images(self) -> list[CountedImage]:
        """Return the images of which :meth:`of` makes this record."""
        details = [{name: values[place] for name, values in self.details.items()} for place in range(len(self))]
        return [CountedImage(*row) for row in zip(self.ids, self.truth, self.loss.tolist(), self.matrices, details, strict=True)]

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Record({len(self)} images, {len(self.classes)} classes)"

    @property
    def counts(self) -> NDArray[np.float64]:
        """True positives and unions by class: n x 2 x K."""
        return hits_and_unions(self.matrices)

    def select(self, places: Sequence[int]) -> Record:
        """Return the record of the images at these places, in their order."""
        chosen = list(places)
        ids, truth = (tuple(values[place] for place in chosen) for values in (self.ids, self.truth))
        details = {name: values[chosen] for name, values in self.details.items()}
        return Record(self.classes, ids, truth, self.matrices[chosen], self.loss[chosen], details)

    def subset(self, ids: Iterable[str]) -> Record:
        """Return the record of these images, in the order given; InputError for an id that is not there, or twice."""
        places = {name: place for place, name in enumerate(self.ids)}
        wanted: dict[str, int] = {}
        for name in ids:
            if name not in places:
                raise InputError(f"image '{name}' is not among the {len(self)} scored images")
            if name in wanted:
                raise InputError(f"image '{name}' is named twice")
            wanted[name] = places[name]
        return self.select(list(wanted.values()))

    def merge(self, other: Record) -> Record:
        """Return both records as one, sorted by id; InputError for other classes or ``details``, or an image that both have."""
        if self.classes != other.classes:
            raise InputError(f"cannot merge scores of classes {self.classes} and {other.classes}")
        if twice := sorted(set(self.ids) & set(other.ids)):
            raise InputError(f"cannot merge scores that share {len(twice)} images; the first: {twice[0]}")
        if differ := sorted(self.details.keys() ^ other.details.keys()):
            raise InputError(
                f"cannot merge scores of which only some have counts of {differ[0]}; make all by evaluate, or by score"
            )
        both = Record(
            self.classes, self.ids + other.ids, self.truth + other.truth,
            np.concatenate([self.matrices, other.matrices]), np.concatenate([self.loss, other.loss]),
            {name: np.concatenate([values, other.details[name]]) for name, values in self.details.items()},
        )  # fmt: skip
        return both.select(sorted(range(len(both)), key=both.ids.__getitem__))

    def table(self) -> list[dict[str, Any]]:
        """Return a row for each image: mIoU over its classes, pixel accuracy, pixels, loss, IoU by class; fractions in 0..1."""
        values = ious(*np.moveaxis(self.counts, 1, 0))
        means, pixels = mean_over_classes(values), self.matrices.sum((1, 2))
        right = np.einsum("nkk->n", self.matrices)
        rows = []
        for place, name in enumerate(self.ids):
            count = int(pixels[place])
            row = {"id": name, "miou": as_number(means[place]), "pixel_accuracy": int(right[place]) / count if count else None}
            row |= {"pixels": count, "loss": as_number(self.loss[place] / count) if count else None}
            rows.append(row | {f"iou {label}": as_number(value) for label, value in zip(self.classes, values[place], strict=True)})
        return rows

    def save(self, folder: Path) -> None:
        """Write ``per_image.npz`` and ``per_image.csv`` to a folder; equal records give equal files. May raise OutputError."""
        arrays: dict[str, Any] = {"ids": self.ids, "truth": self.truth, "classes": self.classes, "matrices": self.matrices}
        arrays |= {"loss": self.loss} | dict(self.details)
        with replacing(folder / ARRAYS) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, values in arrays.items():
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, np.asarray(values), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED)  # without the time
        rows = self.table()
        with replacing(folder / TABLE) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]) if rows else ["id"])
            writer.writeheader()
            writer.writerows(rows)

    @classmethod
    def load(cls, folder: Path) -> Record:
        """Read ``per_image.npz`` of a folder; DataError if it is missing or damaged."""
        path = folder / ARRAYS
        try:
            with np.load(path, allow_pickle=False) as file:
                ids, truth, classes = (tuple(map(str, file[name])) for name in ("ids", "truth", "classes"))
                matrices, loss = file["matrices"], file["loss"].astype(np.float64)
                details = {name: file[name] for name in shapes(len(classes)) if name in file}
        except Exception as error:  # numpy, zipfile and zlib raise many kinds for damaged files
            raise DataError(f"cannot read {path}: {reason(error)}; evaluate or score with --out writes it") from error
        sizes = (len(ids), len(classes), len(classes))
        if matrices.shape != sizes or matrices.dtype.kind not in "iu" or not (len(ids),) == (len(truth),) == loss.shape:
            raise DataError(
                f"{path} is damaged: matrices of shape {matrices.shape} for {len(ids)} images and {len(classes)} classes"
            )
        if len(set(ids)) < len(ids):
            raise DataError(f"{path} is damaged: an image is in it twice")
        if matrices.size and matrices.min() < 0:
            raise DataError(f"{path} is damaged: a count of {matrices.min()} pixels")
        return cls(classes, ids, truth, matrices, loss, checked(details, len(ids), len(classes), path))
