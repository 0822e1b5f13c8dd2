"""Convert a data set: find its images, read everything once, decide on classes and splits, write."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vocseg import voc
from vocseg.convert.classes import Labels, map_classes, parse_classes, parse_names
from vocseg.convert.detect import find_source
from vocseg.convert.regions import Mask
from vocseg.convert.source import Item, Source, skipped
from vocseg.convert.splits import SplitPlan, draw_splits, plan_splits
from vocseg.convert.writers import write_coco, write_voc, write_yolo
from vocseg.data.image_io import UNREADABLE, image_size, open_image, pillow_reason, read_image
from vocseg.data.near_duplicates import Fingerprint, fingerprint
from vocseg.errors import DataError, OutputError, SettingError
from vocseg.utils.files import building
from vocseg.utils.progress import progress
from vocseg.utils.text import counted

RECODED_SUFFIXES = (".bmp", ".tif", ".tiff")
"""Suffixes of images that become PNG, which is smaller and which more tools read."""
EMBEDDED_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif"}
"""Suffixes of images inside annotation files, by Pillow's format."""

CHOICES = {"to": ("voc", "coco", "yolo"), "segments": ("rle", "polygons"), "objects": ("classes", "parts")}

VOID_NAMES = {"void", "unlabeled", "unlabelled", "ignore", "ignored"}
"""Class names that usually mean void."""
MAX_NAMES = 24
"""How many class names a line of the report lists."""

AnyPath = str | Path


@dataclass(frozen=True)
class ConvertReport:
    """Result of a conversion.

    ``kind`` is the source's format and ``found`` where its files are. ``images_per_class`` and ``pixels`` are counts
    in the order of ``classes``, ``void`` is the fraction of all pixels, ``splits`` are numbers of images.

    >>> report = ConvertReport("voc", "data", 3, ("background", "cat"), (3, 2), (900, 80), 0.02, {"train": 2, "val": 1})
    >>> for line in report.lines():
    ...     print(line)
    voc: data
    classes: background, cat; void: 2.0%
    splits: train 2, val 1
    """

    kind: str
    found: str
    images: int
    classes: tuple[str, ...]
    images_per_class: tuple[int, ...]
    pixels: tuple[int, ...]
    void: float
    splits: dict[str, int]
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return what was found and decided, and hints at probable mistakes, as lines of text."""
        absent = [name for name, count in zip(self.classes, self.images_per_class, strict=True) if not count]
        more = ", ..." if len(self.classes) > MAX_NAMES else ""
        lines = [f"{self.kind}: {self.found}", *dict.fromkeys(self.notes)]
        lines.append(f"classes: {', '.join(self.classes[:MAX_NAMES])}{more}; void: {self.void:.1%}")
        if absent:
            lines.append(f"classes in no image: {', '.join(absent)}")
        last = len(self.classes) - 1
        if self.classes[-1] == f"class_{last}" and self.classes[-1] not in absent and f"class_{last - 1}" in absent:
            lines.append(f"label {last} is separated from the others by unused labels; if it is not a class, use --void {last}")
        learned = next((name for name in self.classes if name.lower() in VOID_NAMES), None)
        if learned is not None:
            lines.append(f"'{learned}' is converted as a class; if it is not a class, use --void {learned}")
        return [*lines, f"splits: {', '.join(f'{split} {count}' for split, count in self.splits.items())}"]

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, for JSON."""
        return asdict(self)


def convert(
    source: AnyPath,
    out: AnyPath,
    *,
    to: Literal["voc", "coco", "yolo"] = "voc",
    kind: str = "auto",
    images: AnyPath | None = None,
    masks: AnyPath | None = None,
    classes: AnyPath | Sequence[str] | None = None,
    colors: AnyPath | None = None,
    void: str | Sequence[str | int] = (),
    splits: AnyPath | Sequence[float] | None = None,
    seed: int = 0,
    segments: Literal["rle", "polygons"] = "rle",
    objects: Literal["classes", "parts"] = "classes",
) -> ConvertReport:
    """Convert a data set into VOC layout, or out of it.

    Everything is read and checked before the first mask is written, and ``out`` appears only when it is complete.
    Images are copied byte for byte (BMP and TIFF become PNG). Nothing in ``source`` changes.

    Args: source: Folder, or annotation file (COCO, Label Studio, YOLO's data.yaml). out: Folder to write; it must be
        new or empty. to: ``voc``, ``coco`` (JSON) or ``yolo`` (polygons, which have neither background nor void).
        kind: Format of ``source``: ``auto``, ``folders``, ``camvid``, ``cityscapes``, ``coco``, ``labelme``,
        ``supervisely``, ``label-studio``, ``yolo`` or ``voc``. images: Folder of the images, if they are not found
        automatically. masks: Folder of the masks; for VOC layout its name, for example ``SegmentationClassAug``.
        classes: Names, a comma-separated list of them, or a file with one a line. They name the labels 0, 1, 2, ... of
        masks; if the source names its classes, they select classes in the order of their new ids. colors: Color table
        of colored masks: CSV with name,r,g,b, or CVAT's ``labelmap.txt``. void: Labels or class names, a sequence or
        comma-separated, that become 255 in addition to 255 itself. Higher ids are shifted down to stay contiguous.
        splits: Folder with ``train.txt``, ``val.txt``, ..., or fractions of train, val and test: ``0.8/0.2`` or
        ``(0.7, 0.15, 0.15)``. By default the source's own splits, or 0.8/0.2. seed: Seed of drawn splits. segments:
        COCO only: exact run lengths, or polygons along pixel edges. objects: COCO only: one object per class of an
        image, or one per connected part.

    Raises DataError, SettingError or OutputError, naming the file and the value.

    >>> import tempfile, vocseg
    >>> from vocseg.data.synthetic import write_synthetic
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_synthetic(Path(folder, "voc"), train=2, val=1, size=(32, 40), seed=0)
    ...     report = vocseg.convert(Path(folder, "voc"), Path(folder, "coco"), to="coco")
    ...     print(report.kind, report.images, report.splits)
    voc 3 {'train': 2, 'trainval': 3, 'val': 1}
    """
    source, out = Path(source), Path(out)
    for name, value in {"to": to, "segments": segments, "objects": objects}.items():
        if value not in CHOICES[name]:
            raise SettingError(f"{name} '{value}' is not one of {', '.join(CHOICES[name])}")
    if images is None and source.resolve() in out.resolve().parents:
        raise OutputError(f"{out} is inside {source} and would be read as part of it; choose another folder")
    given, void = parse_classes(classes), parse_names(void)
    found = find_source(source, kind, *(None if path is None else Path(path) for path in (images, masks, colors)))
    plan = plan_splits(found, splits, seed)
    items = _items(found, plan)
    with building(out) as folder, ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as workers:
        image_folder = folder / (voc.IMAGES if to == "voc" else "images")
        image_folder.mkdir()
        check = partial(_check, found, folder=image_folder, pool=set(plan.pool))
        checked = list(progress(workers.map(check, items), len(items), f"read {found.kind}"))
        pixels = np.array([one.pixels for one in checked]).reshape(len(items), 256)
        mapping = map_classes(found, _labels(found, items, pixels), given, void)
        # Pixels of each class id from those of each label; a product of floats, which are exact here, is much faster.
        counts = (pixels.astype(np.float64) @ np.eye(256)[mapping.ids]).astype(np.int64)
        by_class = counts[:, : len(mapping.classes)]
        prints = [one.fingerprint for one in checked]
        final, notes = draw_splits(plan, [item.id for item in items], prints, by_class > 0, mapping.classes)

        def each(write: Callable[[str, str, Mask], Any]) -> Iterator[Any]:
            written = workers.map(lambda item, one: write(item.id, one.image, mapping.ids[found.mask(item)]), items, checked)
            return progress(written, len(items), "write")

        if to == "coco":
            shapes = {"void": bool(counts[:, voc.VOID].any()), "polygons": segments == "polygons", "parts": objects == "parts"}
            write_coco(folder, mapping.classes, final, each, **shapes)
        else:
            (write_voc if to == "voc" else write_yolo)(folder, mapping.classes, final, each)
    return ConvertReport(
        found.kind,
        found.found,
        len(items),
        mapping.classes,
        tuple((by_class > 0).sum(0).tolist()),
        tuple(by_class.sum(0).tolist()),
        float(counts[:, voc.VOID].sum() / max(1, counts.sum())),
        {split: len(names) for split, names in final.items()},
        [*found.notes, *notes, f"{counted(len(mapping.classes), 'class')}, {mapping.note}", plan.note],
    )


def _items(found: Source, plan: SplitPlan) -> list[Item]:
    """Return the images that are in a split, and note the others and renamed ones in ``found``."""
    listed = {name for names in plan.known.values() for name in names} | set(plan.pool)
    found.notes += skipped([item.id for item in found.items if item.id not in listed], "image", "that are in no split")
    items = [item for item in found.items if item.id in listed]
    renamed = [item for item in items if item.embedded is None and item.id != item.image.stem]
    if renamed:
        found.notes.append(f"{counted(len(renamed), 'image')} renamed (such as {renamed[0].image.name} to {renamed[0].id})")
    return items


class _Checked(NamedTuple):
    """The name of a copied image, the pixels of each of 256 labels in its mask, and its fingerprint."""

    image: str
    pixels: NDArray[np.int64]
    fingerprint: Fingerprint | None


def _check(source: Source, item: Item, folder: Path, pool: set[str]) -> _Checked:
    """Copy an image into ``folder``, compare its size with its mask's, and count the mask's labels."""
    image = _copy_image(item, folder)
    try:
        mask = source.mask(item)
    except MemoryError as error:  # an annotation file may claim any size
        raise DataError(f"mask {item.origin} of {item.id} does not fit into memory: {error}") from error
    height, width = image_size(folder / image)
    if mask.shape != (height, width):
        raise DataError(f"image {item.image} is {height}x{width} but its mask {item.origin} is {mask.shape[0]}x{mask.shape[1]}")
    pixels = np.bincount(mask.reshape(-1), minlength=256)
    return _Checked(image, pixels, fingerprint(read_image(folder / image)) if item.id in pool else None)


def _copy_image(item: Item, folder: Path) -> str:
    """Copy an image unchanged, or as PNG if it is a BMP or TIFF, and return its name in ``folder``."""
    if item.embedded is not None:
        content = item.embedded()
        try:
            with open_image(io.BytesIO(content)) as image:
                name = item.id + EMBEDDED_SUFFIXES[image.format or ""]
        except (KeyError, *UNREADABLE) as error:
            raise DataError(f"cannot read the image inside {item.image}: {pillow_reason(error)}") from error
        (folder / name).write_bytes(content)
        return name
    suffix = item.image.suffix.lower()
    image_size(item.image)  # raises DataError for a truncated file
    if suffix in RECODED_SUFFIXES:
        Image.fromarray(read_image(item.image).permute(1, 2, 0).numpy()).save(folder / f"{item.id}.png")
        return f"{item.id}.png"
    shutil.copyfile(item.image, folder / (item.id + suffix))
    return item.id + suffix


def _labels(source: Source, items: list[Item], pixels: NDArray[np.int64]) -> Labels:
    def first(label: int) -> str:
        item = items[int(np.flatnonzero(pixels[:, label])[0])]
        places = np.argwhere(source.mask(item) == label)
        of = f" of {item.image.name}" if item.origin.suffix == ".json" else ""  # a JSON file may describe many images
        where = f"{counted(len(places), 'pixel')}, the first at x={places[0][1]}, y={places[0][0]}"
        return f"mask {item.origin}{of} holds label {label} ({where})"

    present = {int(label) for label in np.flatnonzero(pixels.any(0))}
    return Labels(present - {voc.VOID}, voc.VOID in present, first)
