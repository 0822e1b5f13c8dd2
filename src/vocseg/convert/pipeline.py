"""Convert a data set: find its images, read everything once, decide on classes and splits, write."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vocseg import draw, voc
from vocseg.convert.classes import Labels, map_classes, parse_classes, parse_names
from vocseg.convert.corrections import correct
from vocseg.convert.detect import find_source
from vocseg.convert.labelme_writer import write_labelme
from vocseg.convert.regions import Mask
from vocseg.convert.report import ConvertReport, note_skipped
from vocseg.convert.simplifier import Simplifier
from vocseg.convert.simplify import check_tolerance
from vocseg.convert.source import Item, Lost, Skip, Source, is_inside, skipped
from vocseg.convert.splits import SplitPlan, draw_splits, plan_splits
from vocseg.convert.writers import write_coco, write_voc, write_yolo
from vocseg.data.image_io import check_palettes, image_size, open_image, read_image
from vocseg.data.layout import read_classes
from vocseg.data.near_duplicates import Fingerprint, fingerprint
from vocseg.errors import DataError, ImageError, OutputError, SettingError
from vocseg.utils.arguments import checked
from vocseg.utils.files import building
from vocseg.utils.progress import progress
from vocseg.utils.text import counted

RECODED_SUFFIXES = (".bmp", ".tif", ".tiff")
"""Suffixes of images that become PNG, which is smaller and which more tools read."""
EMBEDDED_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif"}
"""Suffixes of images inside annotation files, by Pillow's format."""

AnyPath = str | Path


@checked
def convert(
    source: AnyPath,
    out: AnyPath,
    *,
    to: Literal["voc", "coco", "yolo", "labelme"] = "voc",
    kind: str = "auto",
    images: AnyPath | None = None,
    masks: AnyPath | None = None,
    classes: AnyPath | Sequence[str] | None = None,
    colors: AnyPath | None = None,
    void: str | Sequence[str | int] = (),
    others: Literal["background", "void"] | None = None,
    splits: AnyPath | Sequence[float] | None = None,
    seed: int = 0,
    group: str | None = None,
    segments: Literal["rle", "polygons"] = "rle",
    objects: Literal["classes", "parts"] = "classes",
    crowds: Literal["auto", "void", "objects"] = "auto",
    simplify: float = 0.0,
    corrections: AnyPath | None = None,
    allow_skipped: bool = False,
    allow_outside: bool = False,
) -> ConvertReport:
    """Convert a data set into VOC layout, or out of it.

    Everything is read and checked before the first mask is written, and ``out`` appears only when it is complete.
    Images are copied byte for byte (BMP and TIFF become PNG). Nothing in ``source`` changes.

    Args: source: Folder, or annotation file (COCO, Label Studio, YOLO's data.yaml). out: Folder to write; it must be
        new or empty. to: ``voc``, ``coco`` (JSON), ``yolo`` (polygons, which have neither background nor void) or
        ``labelme`` (a JSON for each image).
        kind: Format of ``source``: ``auto``, ``folders``, ``camvid``, ``cityscapes``, ``coco``, ``labelme``,
        ``supervisely``, ``label-studio``, ``yolo`` or ``voc``. images: Folder of the images, if they are not found
        automatically. masks: Folder of the masks; for VOC layout its name, for example ``SegmentationClassAug``.
        classes: Names, a comma-separated list of them, or a file with one a line. They name the labels 0, 1, 2, ... of
        masks; if the source names its classes, they select classes in the order of their new ids, and those that the
        source lacks keep their ids too. colors: Color table
        of colored masks: CSV with name,r,g,b, or CVAT's ``labelmap.txt``. void: Labels or class names, a sequence or
        comma-separated, that become 255 in addition to 255 itself. Higher ids are shifted down to stay contiguous.
        others: What pixels of other classes than ``classes`` become: ``background`` or ``void``; by default, they are an
        error.
        splits: Folder with ``train.txt``, ``val.txt``, ..., or fractions of train, val and test: ``0.8/0.2`` or
        ``(0.7, 0.15, 0.15)``. By default the source's own splits, or 0.8/0.2. seed: Seed of drawn splits. group: Keep images
        together in drawn splits: ``sequence`` (names equal but for their last number, as frames of a video have), or a
        regular expression whose match in ``folder/id`` names the group. segments:
        COCO only: exact run lengths, or polygons along pixel edges. objects: COCO only: one object per class of an
        image, or one per connected part. crowds: Crowd regions of COCO: ``void``, ``objects``, or ``auto``: void unless
        every object is one. simplify: Leave out corners of polygons, whose borders move by so many pixels at most, and
        neighbors keep common ones (:mod:`vocseg.convert.simplify`); the report says what it cost. corrections: A data set
        of any format, whose masks replace those of the same ids; classes are matched by name. allow_skipped: Convert even
        if all objects of a class or an image are of kinds that are not drawn (boxes, points, ...). allow_outside: Follow
        links and data.yaml to files outside of ``source``.

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
    if images is None and source.resolve() in out.resolve().parents:
        raise OutputError(f"{out} is inside {source} and would be read as part of it; choose another folder")
    check_tolerance(simplify)
    if simplify and not (to in ("yolo", "labelme") or (to == "coco" and segments == "polygons")):
        raise SettingError(
            f"simplify (--simplify) {simplify:g} needs polygons: yolo, labelme, or coco with segments=polygons (--segments)"
        )
    given, void = parse_classes(classes), parse_names(void)
    images, masks, colors = (None if path is None else Path(path) for path in (images, masks, colors))
    found = find_source(source, kind, images, masks, colors, crowds, allow_outside)
    if not allow_outside:
        _refuse_outside(found, [source, images, masks])
    plan = plan_splits(found, splits, seed, group)
    items = _items(found, plan)
    if corrections is not None:
        correct(found, items, Path(corrections), allow_outside)
    if found.fill is None and found.table is None:
        check_palettes(item.origin for item in items)
    with building(out) as folder, ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as workers:
        image_folder = folder / (voc.IMAGES if to == "voc" else "images")
        image_folder.mkdir()
        check = partial(_check, found, folder=image_folder, pool=set(plan.pool))
        checked = list(progress(workers.map(check, items), len(items), f"read {found.kind}"))
        notes = note_skipped(found, items, [one.lost for one in checked], allow_skipped)
        pixels = np.array([one.pixels for one in checked]).reshape(len(items), 256)
        mapping = map_classes(found, _labels(found, items, pixels), given, void, others)
        # Pixels of each class id from those of each label; a product of floats, which are exact here, is much faster.
        counts = (pixels.astype(np.float64) @ np.eye(256)[mapping.ids]).astype(np.int64)
        by_class = counts[:, : len(mapping.classes)]
        prints = [one.fingerprint for one in checked]
        final, more = draw_splits(plan, [item.id for item in items], prints, by_class > 0, mapping.classes)

        def each(write: Callable[[str, str, Mask], Any]) -> Iterator[Any]:
            written = workers.map(lambda item, one: write(item.id, one.image, mapping.ids[found.mask(item)]), items, checked)
            return progress(written, len(items), "write")

        simplifier = Simplifier(simplify, mapping.classes)
        if to == "coco":
            shapes = {"void": bool(counts[:, voc.VOID].any()), "polygons": segments == "polygons", "parts": objects == "parts"}
            write_coco(folder, mapping.classes, final, each, simplifier, **shapes)
        elif to == "voc":
            write_voc(folder, mapping.classes, final, each)
        else:
            (write_yolo if to == "yolo" else write_labelme)(folder, mapping.classes, final, each, simplifier)
    more += [str(loss)] if (loss := simplifier.loss()) else []
    names = source / voc.CLASSES_FILE  # as write_labelme leaves one, and other tools too
    if given is None and found.kind == "labelme" and names.is_file() and read_classes(names) != mapping.classes:
        more.append(f"classes get other ids than in {names}; --classes {names} takes those")
    notes = [*found.notes, *notes, *more, f"{counted(len(mapping.classes), 'class')}, {mapping.note}", plan.note]
    return ConvertReport(
        found.kind,
        found.found,
        len(items),
        mapping.classes,
        tuple((by_class > 0).sum(0).tolist()),
        tuple(by_class.sum(0).tolist()),
        float(counts[:, voc.VOID].sum() / max(1, counts.sum())),
        {split: len(names) for split, names in final.items()},
        notes,
        {note.kind: note.number for note in notes if isinstance(note, Skip)},
    )


def _refuse_outside(found: Source, given: list[Path | None]) -> None:
    """Raise DataError if a link, or data.yaml, leads to a file that is in none of the ``given`` folders."""
    roots = [(path if path.is_dir() else path.parent).resolve() for path in given if path and path.exists()]
    # The images of COCO's annotations/x.json are beside that folder.
    roots += [root.parent for root in roots if root.name == "annotations"]
    for item in found.items:
        for path in (item.image, item.origin):
            if not is_inside(path, roots):
                where = "" if path.resolve() == path.absolute() else f", which is {path.resolve()},"
                raise DataError(f"{path}{where} is outside of {given[0]}; --allow-outside reads it")


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
    """The name of a copied image, the pixels of each of 256 labels in its mask, its objects not drawn, its fingerprint."""

    image: str
    pixels: NDArray[np.int64]
    lost: list[Lost]
    fingerprint: Fingerprint | None


def _check(source: Source, item: Item, folder: Path, pool: set[str]) -> _Checked:
    """Copy an image into ``folder``, compare its size with its mask's, and count the mask's labels."""
    image = _copy_image(item, folder)
    size = image_size(folder / image)
    lost: list[Lost] = []
    # An annotation file may claim any size: nothing is allocated before it is compared.
    mask = source.mask(item, lost) if item.size in (None, size) else None
    claimed = item.size if mask is None else mask.shape
    if mask is None or claimed != size:
        sizes = [f"{height}x{width}" for height, width in (size, claimed or size)]
        raise DataError(f"image {item.image} is {sizes[0]} but its mask {item.origin} is {sizes[1]}")
    pixels = np.bincount(mask.reshape(-1), minlength=256)
    return _Checked(image, pixels, lost, fingerprint(read_image(folder / image)) if item.id in pool else None)


def _copy_image(item: Item, folder: Path) -> str:
    """Copy an image unchanged, or as PNG if it is a BMP or TIFF, and return its name in ``folder``."""
    if item.embedded is not None:
        content = item.embedded()
        try:
            with open_image(io.BytesIO(content)) as image:
                name = item.id + EMBEDDED_SUFFIXES[image.format or ""]
        except (KeyError, ImageError) as error:
            raise DataError(f"cannot read the image inside {item.image}: {str(error).split(': ', 1)[-1]}") from error
        (folder / name).write_bytes(content)
        return name
    suffix = item.image.suffix.lower()
    image_size(item.image)  # raises DataError for a truncated file
    if suffix in RECODED_SUFFIXES:
        upright = Image.fromarray(read_image(item.image).permute(1, 2, 0).numpy())
        (folder / f"{item.id}.png").write_bytes(draw.encoded(upright))
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
