"""What an evaluation returns: scores, their intervals, the counts of each image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vocseg.errors import DataError, InputError
from vocseg.evaluation.boundary import BoundaryScores, SizeScore, size_scores, trimap_scores
from vocseg.evaluation.calibration import Calibration, TemperatureFit
from vocseg.evaluation.conventions import Convention, conventions
from vocseg.evaluation.record import ARRAYS, TABLE, Record
from vocseg.evaluation.statistics import FEW_IMAGES, Interval, as_pair, jackknife, lost_classes
from vocseg.metrics import ClassScore, Scores, scores
from vocseg.utils.files import RECORD_FILES, SCORES, read_json, scores_file, writable_folder, write_json
from vocseg.utils.text import counted, percent, portable

MASKS, RELIABILITY = "masks", "reliability.svg"
"""Names in a folder of results: the folder of predictions, the reliability diagram."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of a split, fractions in 0..1.

    ``loss``: mean cross entropy of the main output over all valid pixels; None for saved masks. ``images``: how many.
    ``seconds``: how long it took. ``about``: what was scored: model, precision and data, or masks and data. ``record``:
    the counts of each image; None if they were not kept. ``temperature``: the one that was fitted.

    >>> import vocseg
    >>> from vocseg.data.samples import FOLDER
    >>> result = vocseg.evaluate("vocseg-s", FOLDER, "samples", device="cpu")
    >>> round(result.pixel_accuracy, 1), result.images, result.about["model"], result.per_image[0]["id"]
    (1.0, 4, 'vocseg-s', 'astronaut')
    """

    scores: Scores
    loss: float | None
    images: int
    split: str
    seconds: float
    about: Mapping[str, str] = field(default_factory=dict)
    record: Record | None = None
    temperature: TemperatureFit | None = None

    def __repr__(self) -> str:
        classes = f"{self.scores.classes_scored} of {len(self.scores.per_class)} classes"
        return f"Evaluation(mIoU {percent(self.miou)} % over {classes}, {counted(self.images, 'image')} of {self.split})"

    @classmethod
    def from_record(cls, record: Record, split: str, about: Mapping[str, str], seconds: float = 0.0) -> Evaluation:
        """Compute the scores of all images of a record; the order of the images changes nothing."""
        total = record.matrices.sum(0, dtype=np.int64)
        pixels, loss = int(total.sum()), math.fsum(record.loss)
        mean = None if math.isnan(loss) or not pixels else loss / pixels
        return cls(scores(torch.from_numpy(total), record.classes), mean, len(record), split, seconds, about, record)

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

    @property
    def per_image(self) -> list[dict[str, Any]]:
        """A row for each image, see :meth:`Record.table`; InputError if no counts were kept."""
        return self._record().table()

    @property
    def interval(self) -> Interval | None:
        """95 % confidence interval of the mIoU over the choice of images (not of training seeds); None if undefined."""
        return self._intervals[-1] if self._intervals else None

    @property
    def class_intervals(self) -> dict[str, Interval | None]:
        """95 % confidence interval of each class's IoU, by name."""
        return dict(zip(self.per_class, self._intervals or [None] * len(self.per_class), strict=False))

    @cached_property
    def _intervals(self) -> list[Interval | None]:
        return [] if self.record is None else jackknife(self.record.counts)

    @cached_property
    def boundary(self) -> BoundaryScores | None:
        """Boundary IoU; None if its counts were not kept."""
        if self.record is None or not {"boundary", "boundary_width"} <= self.record.details.keys():
            return None
        details = self.record.details
        return BoundaryScores.of(details["boundary"], details["boundary_width"], self.record.classes)

    @cached_property
    def trimap(self) -> dict[int, float | None]:
        """The mIoU of the pixels within 1, 2, 4, 8, 16 and 32 pixels of a boundary of the truth; empty if not counted."""
        return {} if self.record is None or "trimap" not in self.record.details else trimap_scores(self.record.details["trimap"])

    @cached_property
    def sizes(self) -> tuple[SizeScore, ...]:
        """How well objects of each range of sizes are found, from the smallest; empty if not counted."""
        if self.record is None or "sizes" not in self.record.details:
            return ()
        return size_scores(self.record.details["sizes"], self.record.classes)

    @cached_property
    def calibration(self) -> Calibration | None:
        """Calibration error of the probabilities; None for masks, and if its counts were not kept."""
        if self.record is None or "calibration" not in self.record.details:
            return None
        return Calibration.of(self.record.details["calibration"], self.record.classes)

    def conventions(self) -> list[Convention]:
        """Compute the mIoU of the same predictions as other tools do, to compare with their numbers; InputError without counts.

        >>> import vocseg
        >>> from vocseg.data.samples import FOLDER
        >>> rows = vocseg.evaluate("vocseg-s", FOLDER, "samples", device="cpu").conventions()
        >>> [row.name for row in rows if row.miou is None]  # two of 21 classes occur
        ['torchvision references']
        """
        record = self._record()
        return conventions(record.matrices, record.details.get("void"), record.classes)

    def warnings(self) -> list[str]:
        """Say why the interval may be too narrow: few images, or classes that few images show."""
        if self.record is None or self.interval is None:
            return []
        lines = []
        if self.images < FEW_IMAGES:
            lines.append(f"{counted(self.images, 'image')} are few: the interval covers the true score less often than 95 %")
        if (lost := lost_classes(self.record.counts)) > 0.05:
            lines.append(f"{100 * lost:.0f} % of resamples of these images lose a class: mIoU over other classes is another score")
        return lines

    def subset(self, ids: Iterable[str]) -> Evaluation:
        """Return the scores of some of the images; InputError for an id that was not scored."""
        return Evaluation.from_record(self._record().subset(ids), self.split, self.about)

    def merge(self, *others: Evaluation) -> Evaluation:
        """Return the scores of the images of several evaluations, such as shards.

        Raises InputError if two share an image, or only some have counts of probabilities, say.
        """
        record, seconds = self._record(), self.seconds
        for other in others:
            record, seconds = record.merge(other._record()), seconds + other.seconds
        return Evaluation.from_record(record, self.split, self.about, seconds)

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        head = {"split": self.split, "images": self.images, "loss": self.loss, "seconds": round(self.seconds, 3)}
        values: dict[str, Any] = (
            {key: portable(value) for key, value in self.about.items()}
            | head
            | {"interval": as_pair(self.interval)}
            | self.scores.to_dict()
        )
        for name, interval in self.class_intervals.items():
            values["per_class"][name]["interval"] = as_pair(interval)
        values["boundary"] = self.boundary and self.boundary.to_dict()
        values["trimap"] = [{"distance": distance, "miou": miou} for distance, miou in self.trimap.items()]
        values["sizes"] = [row.to_dict() for row in self.sizes]
        values["calibration"] = self.calibration and self.calibration.to_dict()
        if self.record is not None:
            values["conventions"] = {row.name: row.miou for row in self.conventions()}
        if self.temperature is not None:
            values["temperature"] = self.temperature.to_dict()
        return values

    def save(self, path: str | Path) -> None:
        """Write the scores as JSON to a file ``.json``; or to a folder, with the counts of each image, if they were kept.

        A folder gets ``scores.json``, ``per_image.npz`` (what :meth:`load` reads), ``per_image.csv`` and, if there were
        probabilities, ``reliability.svg``. May raise OutputError.
        """
        path = Path(path)
        if path.suffix == ".json":
            write_json(path, self.to_dict())
            return
        writable_folder(path)
        if self.record is not None:
            self.record.save(path)
        if self.calibration is not None:
            self.calibration.save_diagram(path / RELIABILITY)
        write_json(path / SCORES, self.to_dict(), [path / name for name in RECORD_FILES])

    def save_all(self, folder: str | Path | None, json: str | Path | None) -> None:
        """Write what is asked for of a folder of results and a JSON file; may raise OutputError."""
        for path in (folder, json):
            if path is not None:
                self.save(path)

    @classmethod
    def load(cls, folder: str | Path) -> Evaluation:
        """Read a folder of results that :meth:`save` wrote; DataError if a part is missing or damaged."""
        folder = Path(folder)
        values, record = read_scores(folder), Record.load(folder)
        result = cls.from_record(record, str(values.get("split")), about_of(values), values.get("seconds", 0.0))
        if result.miou != values.get("miou"):
            raise DataError(f"{folder / SCORES} and {ARRAYS} beside it are not of one evaluation: write them again")
        return result

    def _record(self) -> Record:
        if self.record is None:
            raise InputError("the counts of each image were not kept")
        return self.record


def result_files(folder: str | Path | None) -> list[Path]:
    """List the files that results are written to in a folder."""
    return [] if folder is None else [Path(folder) / name for name in (SCORES, ARRAYS, TABLE, RELIABILITY)]


def read_scores(folder: Path) -> dict[str, Any]:
    """Read ``scores.json`` of a folder of results; DataError if it is missing or damaged."""
    values = read_json(scores_file(folder))
    if not isinstance(values, dict) or not isinstance(values.get("seconds", 0.0), int | float):
        raise DataError(f"{folder / SCORES} holds no scores: write them again")
    return values


def about_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Return what was scored, of the values of ``scores.json``."""
    return {key: value for key, value in values.items() if isinstance(value, str) and key != "split"}
