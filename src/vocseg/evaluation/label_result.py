"""What looking for label errors returns: images and objects, most doubtful first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from vocseg.errors import DataError, InputError, OutputError
from vocseg.evaluation.label_components import KINDS, LabelError
from vocseg.utils.files import read_json, writable_folder, write_json
from vocseg.utils.text import counted, portable
from vocseg.utils.urls import path_or_url

REVIEW, PAGE = "review.json", "index.html"
"""Names of the files in a folder of label errors."""
Rank = Literal["region", "softmin"]
"""What images are sorted by."""


class ImageQuality(NamedTuple):
    """An image, two measures of the quality of its labels, 0 (wrong) to 1, and whether its model was not trained on it.

    ``region`` and ``softmin``: see :func:`vocseg.find_label_errors`; None if all is void. ``out_of_sample``: None if that
    is not known.
    """

    id: str
    region: float | None
    softmin: float | None
    out_of_sample: bool | None


@dataclass(frozen=True)
class LabelErrors:
    """Images of a split, the most doubtful labels first, and the most doubtful objects.

    ``found``: how many objects of each kind there were, of which ``objects`` has the ``limit`` most doubtful.

    >>> import vocseg
    >>> from vocseg.data.samples import FOLDER
    >>> result = vocseg.find_label_errors(FOLDER, "vocseg-s", "samples", device="cpu")
    >>> result.sample_note
    'perhaps in sample for 4 images: the model does not say which images it was trained on'
    """

    data: str | Path
    split: str
    mask_dir: str
    models: tuple[str, ...]
    classes: tuple[str, ...]
    rank: Rank
    limit: int
    images: tuple[ImageQuality, ...]
    objects: tuple[LabelError, ...]
    found: dict[str, int]

    def __repr__(self) -> str:
        return f"LabelErrors({counted(sum(self.found.values()), 'object')} in {counted(len(self.images), 'image')} of {self.split})"

    @property
    def sample_note(self) -> str:
        """Say of how many images the probabilities are out of sample."""
        counts = Counter(image.out_of_sample for image in self.images)
        if counts[True] == len(self.images):
            return "out of sample: no image was scored by a model that was trained on it"
        notes = {
            True: "out of sample for {}",
            False: "in sample for {}: the model was trained on them and may have learned their errors (--folds trains others)",
            None: "perhaps in sample for {}: the model does not say which images it was trained on",
        }
        return "; ".join(text.format(counted(counts[key], "image")) for key, text in notes.items() if counts[key])

    def merge(self, *others: LabelErrors) -> LabelErrors:
        """Return the result of the images of several, such as shards: the same as of all at once.

        Raises InputError if they share an image, or were made with other settings.
        """
        settings = ("split", "classes", "rank", "limit")
        for other in others:
            if differ := [name for name in settings if getattr(self, name) != getattr(other, name)]:
                raise InputError(f"cannot merge label errors of another {differ[0]}")
        runs = (self, *others)
        ids = Counter(image.id for run in runs for image in run.images)
        if twice := sorted(name for name, count in ids.items() if count > 1):
            raise InputError(f"cannot merge label errors that share {counted(len(twice), 'image')}; the first: {twice[0]}")
        found: dict[str, int] = {kind: sum(run.found[kind] for run in runs) for kind in KINDS}
        models = tuple(dict.fromkeys(model for run in runs for model in run.models))
        images = tuple(image for run in runs for image in run.images)
        objects = tuple(error for run in runs for error in run.objects)
        return replace(
            self, models=models, images=ranked(images, self.rank), objects=most_doubtful(objects, self.limit), found=found
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        return {
            "data": portable(self.data), "split": self.split, "mask_dir": self.mask_dir, "models": [*map(portable, self.models)],
            "classes": list(self.classes), "rank": self.rank, "limit": self.limit, "sample": self.sample_note,
            "found": self.found, "images": [image._asdict() for image in self.images],
            "objects": [asdict(error) for error in self.objects],
        }  # fmt: skip

    def save(self, path: str | Path) -> None:
        """Write a JSON file, which :meth:`load` reads; or to a folder ``review.json`` and a page with crops, ``index.html``.

        May raise OutputError, and DataError if the images are not at hand for the page.
        """
        from vocseg.evaluation.label_review import write_page

        path = Path(path)
        if path.suffix == ".json":
            write_json(path, self.to_dict())
            return
        writable_folder(path)
        write_json(path / REVIEW, self.to_dict())
        write_page(self, path / PAGE)

    def suggest(self, out: str | Path, to: str = "labelme") -> list[str]:
        """Write the images of the objects to a data set of another format, with labels as the model suggests them.

        ``to``: a format of :func:`vocseg.convert`, such as ``labelme`` or ``coco``. Objects whose ``accept`` is false keep
        their labels. Returns the ids of the images, which are to be looked at and corrected. Raises OutputError if ``out``
        is not new or empty.
        """
        from vocseg.evaluation.label_review import write_suggestions

        return write_suggestions(self, Path(out), to)

    @classmethod
    def load(cls, file: str | Path, data: str | Path | None = None) -> LabelErrors:
        """Read what :meth:`save` wrote, with what a reviewer set ``accept`` to; ``data``: where the data set is now.

        Raises DataError if the file is not one of label errors.
        """
        values = read_json(file)
        try:
            objects = tuple(_error_of(error) for error in values["objects"])
            rank: Any = values["rank"]
            images = tuple(ImageQuality(**image) for image in values["images"])
            where = path_or_url(values["data"] if data is None else data), str(values["split"]), str(values["mask_dir"])
            names = tuple(map(str, values["models"])), tuple(map(str, values["classes"]))
            return cls(
                *where, *names, rank, int(values["limit"]), images, objects, dict(values["found"])
            )  # fmt: skip
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{file} holds no label errors: {type(error).__name__}: {error}") from error


def refuse_reviewed(out: str | Path) -> None:
    """Raise OutputError if ``review.json`` in a folder holds what a reviewer decided, which a new one would not."""
    file = Path(out) / REVIEW
    if file.is_file() and (decided := sum(error.accept is not None for error in LabelErrors.load(file).objects)):
        reviewed = counted(decided, "reviewed object")
        raise OutputError(f"cannot write {file}: it has {reviewed} (accept); choose another folder, or delete it")


def _error_of(values: Mapping[str, Any]) -> LabelError:
    """Return an object from JSON values; raises ValueError or TypeError if it is none."""
    error = LabelError(**{**values, "box": tuple(values["box"])})
    if error.accept not in (True, False, None) or error.kind not in KINDS:
        raise ValueError(f"object of {error.id} with kind {error.kind!r:.20} and accept {error.accept!r:.20}")
    return error


def ranked(images: Iterable[ImageQuality], rank: Rank) -> tuple[ImageQuality, ...]:
    """Sort images, the most doubtful labels first, and those without labels last."""

    def order(image: ImageQuality) -> tuple[float, str]:
        score = image.region if rank == "region" else image.softmin
        return math.inf if score is None else score, image.id

    return tuple(sorted(images, key=order))


def most_doubtful(objects: Iterable[LabelError], limit: int) -> tuple[LabelError, ...]:
    """Return the ``limit`` most doubtful objects of each kind, in order: missing objects have lower doubts than others."""
    kept: Counter[str] = Counter()
    found = []
    for error in sorted(objects, key=lambda error: error.order):
        kept[error.kind] += 1
        if kept[error.kind] <= limit:
            found.append(error)
    return tuple(found)
