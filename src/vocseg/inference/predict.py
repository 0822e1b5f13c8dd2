"""Write the masks and overlays of image files."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vocseg.data.color_table import read_colors
from vocseg.errors import DataError, InputError, OutputError, SettingError, nearest, reason
from vocseg.inference.augment import Augmentation
from vocseg.inference.engines import EngineName
from vocseg.inference.segmenter import Segmentation, Segmenter, as_segmenter
from vocseg.inference.sources import Item, find_images, output_names
from vocseg.models import ModelInfo
from vocseg.models.zoo.vocseg_s import NAME as DEFAULT_MODEL
from vocseg.utils.arguments import checked
from vocseg.utils.files import refuse_to_replace, writable_folder, write_json
from vocseg.utils.progress import progress
from vocseg.utils.text import counted

NAMED = 3
"""How many unreadable images an error names."""

Palette = str | Path | Mapping[str, tuple[int, int, int]]
"""RGB colors of classes by name, or the file of a color table: lines ``name r g b``."""


@dataclass(frozen=True)
class Prediction:
    """What was written for an image; ``name``: its path below the folder searched; ``areas``: shares of classes, 0..1.

    ``network_size``: height and width at which the network saw the image, if smaller than it is. ``notes``: how its file
    was read, if that may surprise.
    """

    image: Path | str
    name: str
    mask: Path
    overlay: Path | None
    seconds: float
    areas: dict[str, float]
    network_size: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        row = {"image": str(self.image), "mask": str(self.mask), "seconds": round(self.seconds, 4), "areas": self.areas}
        row |= {} if self.overlay is None else {"overlay": str(self.overlay)}
        row |= {} if self.network_size is None else {"network_size": list(self.network_size)}
        return row | ({"notes": list(self.notes)} if self.notes else {})


@dataclass(frozen=True)
class Predictions:
    """What :func:`predict` wrote, and ``errors``: the images it had to skip. ``total``: how many images there were."""

    model: str
    images: tuple[Prediction, ...]
    errors: dict[Path | str | int, DataError]
    total: int

    def __repr__(self) -> str:
        return f"Predictions({len(self.images)} of {counted(self.total, 'image')} by {self.model}, {len(self.errors)} skipped)"

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        skipped = [{"image": str(path), "error": str(error)} for path, error in self.errors.items()]
        rows = [row.to_dict() for row in self.images]
        return {"model": self.model, "images": len(rows), "predictions": rows, "skipped": skipped}

    def check(self) -> None:
        """Raise DataError if images were skipped; it names the first three."""
        errors = list(self.errors.values())
        if self.total == 1 and errors:
            raise errors[0]
        if errors:
            more = f"; and {len(errors) - NAMED} more" if len(errors) > NAMED else ""
            named = "; ".join(map(str, errors[:NAMED]))
            raise DataError(f"{len(errors)} of {counted(self.total, 'image')} skipped: {named}{more}")


@checked
def predict(
    images: str | Path | Item | Iterable[str | Path | Item],
    out: str | Path = "predictions",
    *,
    model: str | Path | nn.Module | Segmenter = DEFAULT_MODEL,
    weights: str | None = None,
    classes: Sequence[str] | None = None,
    overlay: bool = True,
    opacity: float = 0.55,
    palette: Palette | None = None,
    device: str | torch.device = "auto",
    precision: str | torch.dtype = "auto",
    engine: EngineName = "auto",
    exact: bool = False,
    max_short_side: int | None = None,
    tta: Augmentation = "none",
    batch_size: int | None = None,
    frames: bool = False,
    json: str | Path | None = None,
    title: str | None = None,
) -> Predictions:
    """Segment image files; write a palette PNG NAME.png and an overlay NAME_overlay.jpg of each to the folder ``out``.

    ``images``: files, folders, which are searched with all below them and whose structure is kept, glob patterns, lists
    (.txt, .csv), archives (zip, tar), addresses, ``-`` (standard input), or items of a source of your own
    (:class:`vocseg.inference.sources.Item`). Each page of a TIFF file, and with ``frames`` each frame of an animation, gets
    files in a folder of the file's name.
    ``model`` and the options from ``weights`` to ``tta`` are those of :class:`vocseg.Segmenter`, which may be
    given as ``model`` itself. ``opacity``: of the overlays' tint, 0..1. ``palette``: other colors for classes, by name.
    ``json``: a file for areas, times and errors, written even if the call fails half-way. ``title``: shows a progress
    bar on a terminal.

    An image that cannot be read is skipped; see :meth:`Predictions.check`. Masks and overlays of an earlier call are no
    images. Raises InputError if there are no images, ModelError for a model that cannot be used, OutputError if an output
    cannot be written or would replace an input or data, or if ``out`` is a folder of the images.

    >>> import tempfile
    >>> from vocseg.data.samples import FOLDER
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = predict(FOLDER / "JPEGImages" / "c*.jpg", folder, device="cpu", overlay=False)
    ...     [row.mask.name for row in result.images]
    ['camera.png', 'chelsea.png']
    """
    out, sources = Path(out), [images] if isinstance(images, str | Path | Item) else list(images)
    errors: dict[Any, DataError] = {}
    found_items = find_images(sources, out, errors)
    items = [item._replace(output=name) for item, name in zip(found_items, output_names(found_items), strict=True)]
    masks = [out / f"{name}.png" for name in (item.output for item in items)]
    overlays = [out / f"{name}_overlay.jpg" if overlay else None for name in (item.output for item in items)]
    named = str(model) if isinstance(model, str | Path) else None
    read = [*(item.path for item in items), named, weights, *([palette] if isinstance(palette, str | Path) else [])]
    refuse_to_replace([*masks, *overlays, None if json is None else Path(json)], read)
    for source in sources:
        if not isinstance(source, Item) and Path(source).is_dir() and Path(source).resolve() == out.resolve():
            raise OutputError(f"the folder {out} of the images cannot be that of their masks too; choose another for these")
    if not 0 <= opacity <= 1:
        raise SettingError(f"opacity {opacity} must lie in 0..1")
    options = {"weights": weights, "classes": classes, "device": device, "precision": precision, "engine": engine, "exact": exact}
    segmenter = as_segmenter(model, **options, max_short_side=max_short_side, tta=tta)
    info = segmenter.info if palette is None else _recolored(segmenter.info, palette)
    writable_folder(out)
    stream = segmenter.stream(items, batch_size=batch_size, on_error="skip", frames=frames)
    rows: list[Prediction] = []
    found = Predictions(named or segmenter.info.architecture, (), errors, 0)
    try:
        with closing(stream):
            for result in progress(stream, len(items), title):
                item = stream.item
                assert item is not None
                mask, tinted = out / f"{item.output}.png", out / f"{item.output}_overlay.jpg" if overlay else None
                try:
                    areas = _write(replace(result, info=info), mask, tinted, opacity)
                except DataError as error:
                    errors[item.key] = error
                    continue
                size = result.network_size if result.shrunk else None
                rows.append(Prediction(item.key, str(item.relative), mask, tinted, result.seconds, areas, size, result.notes))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{len(rows)} of {counted(len(items), 'image')} done, in {out}") from None
    finally:
        errors |= stream.errors
        found = replace(found, images=tuple(rows), total=len(rows) + len(errors))
        if json is not None:
            write_json(Path(json), found.to_dict())
    return found


def _write(result: Segmentation, mask: Path, overlay: Path | None, opacity: float) -> dict[str, float]:
    """Write the files of an image and return its areas; raise DataError for what only this image cannot do."""
    try:
        result.save(mask)
        if overlay is not None:
            result.save(overlay, opacity=opacity)
        return result.areas()
    except (OutputError, OSError) as error:
        number = getattr(error, "errno", None) or getattr(error.__cause__, "errno", None)
        if number in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
            raise DataError(f"image {result.source} has no output: {reason(error)}") from error
        raise  # a full disk, say
    except (MemoryError, RuntimeError, ValueError) as error:
        raise DataError(f"image {result.source} has no output: {type(error).__name__}: {error}") from error


def _recolored(info: ModelInfo, palette: Palette) -> ModelInfo:
    """Return the description of a model with other colors for the classes that the palette names."""
    if isinstance(palette, str | Path):
        table = read_colors(Path(palette))
        rows = [(label, (code >> 16, code >> 8 & 255, code & 255)) for code, label in table.labels.items()]
        palette = {table.names[label]: color for label, color in rows if label in table.names}
    if unknown := [name for name in palette if name not in info.classes]:
        raise InputError(
            f"the palette names '{unknown[0]}', which the model does not predict{nearest(unknown[0], list(info.classes))}"
        )
    return replace(info, palette=tuple(palette.get(name, color) for name, color in zip(info.classes, info.palette, strict=True)))
