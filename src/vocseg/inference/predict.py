"""Write the masks and overlays of image files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from vocseg.errors import DataError
from vocseg.inference.engines import EngineName
from vocseg.inference.segmenter import Segmenter, as_segmenter
from vocseg.inference.sources import find_images, output_names
from vocseg.models.zoo.vocseg_s import NAME as DEFAULT_MODEL
from vocseg.utils.files import refuse_to_replace, writable_folder, write_json
from vocseg.utils.progress import progress
from vocseg.utils.text import counted

NAMED = 10
"""How many unreadable images an error names."""


@dataclass(frozen=True)
class Prediction:
    """What was written for an image; ``name``: its path below the folder searched; ``areas``: shares of classes, 0..1."""

    image: Path
    name: str
    mask: Path
    overlay: Path | None
    seconds: float
    areas: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        row = {"image": str(self.image), "mask": str(self.mask), "seconds": round(self.seconds, 4), "areas": self.areas}
        return row if self.overlay is None else row | {"overlay": str(self.overlay)}


@dataclass(frozen=True)
class Predictions:
    """What :func:`predict` wrote, and ``errors``: the images it had to skip."""

    model: str
    images: tuple[Prediction, ...]
    errors: dict[Path, DataError]

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        skipped = [{"image": str(path), "error": str(error)} for path, error in self.errors.items()]
        rows = [row.to_dict() for row in self.images]
        return {"model": self.model, "images": len(rows), "predictions": rows, "skipped": skipped}

    def check(self) -> None:
        """Raise DataError if images were skipped; it names the first ten."""
        errors, total = list(self.errors.values()), len(self.images) + len(self.errors)
        if total == 1 and errors:
            raise errors[0]
        if errors:
            more = f"; and {len(errors) - NAMED} more (--json names all)" if len(errors) > NAMED else ""
            named = "; ".join(map(str, errors[:NAMED]))
            raise DataError(f"{len(errors)} of {counted(total, 'image')} skipped: {named}{more}")


def predict(
    images: str | Path | Iterable[str | Path],
    out: str | Path = "predictions",
    *,
    model: str | Path | nn.Module | Segmenter = DEFAULT_MODEL,
    weights: str | None = None,
    overlay: bool = True,
    device: str = "auto",
    precision: str = "auto",
    engine: EngineName = "auto",
    exact: bool = False,
    batch_size: int | None = None,
    json: str | Path | None = None,
    title: str | None = None,
) -> Predictions:
    """Segment image files; write a palette PNG NAME.png and an overlay NAME_overlay.jpg of each to the folder ``out``.

    ``images``: files, folders, which are searched with all below them and whose structure is kept, and glob patterns.
    ``model`` and the options from ``weights`` to ``exact`` are those of :class:`vocseg.Segmenter`, which may be given
    as ``model`` itself. ``json``: a file for areas, times and errors. ``title``: shows a progress bar on a terminal.

    An image that cannot be read is skipped; see :meth:`Predictions.check`. Raises InputError if there are no images,
    ModelError for a model that cannot be used, OutputError if an output cannot be written or would replace an input or
    data.

    >>> import tempfile
    >>> from vocseg.data.samples import FOLDER
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = predict(FOLDER / "JPEGImages" / "c*.jpg", folder, device="cpu", overlay=False)
    ...     [row.mask.name for row in result.images]
    ['camera.png', 'chelsea.png']
    """
    out = Path(out)
    files = find_images(images, out)
    names = output_names(files)
    masks = [out / f"{name}.png" for name in names]
    overlays = [out / f"{name}_overlay.jpg" if overlay else None for name in names]
    named = str(model) if isinstance(model, str | Path) else None
    refuse_to_replace([*masks, *overlays, None if json is None else Path(json)], [*(file.path for file in files), named, weights])
    options = {"weights": weights, "device": device, "precision": precision, "engine": engine, "exact": exact}
    segmenter = as_segmenter(model, **options)
    writable_folder(out)
    rows: list[Prediction] = []
    stream = segmenter.stream([file.path for file in files], batch_size=batch_size, on_error="skip")
    # Files may be named twice: each result belongs to the next of its name.
    places = iter(zip(files, masks, overlays, strict=True))
    for result in progress(stream, len(files), title):
        file, mask, tinted = next(place for place in places if place[0].path == result.source)
        result.save(mask)
        if tinted is not None:
            result.save(tinted)
        rows.append(Prediction(file.path, str(file.relative), mask, tinted, result.seconds, result.areas()))
    errors = {Path(key): error for key, error in stream.errors.items() if isinstance(key, Path)}
    predictions = Predictions(named or segmenter.info.architecture, tuple(rows), errors)
    if json is not None:
        write_json(Path(json), predictions.to_dict())
    return predictions
