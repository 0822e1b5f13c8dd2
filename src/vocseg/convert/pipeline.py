"""The one way from any format to any other: find, look at everything once, decide, write."""

from __future__ import annotations

import io
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vocseg import voc
from vocseg.convert.classes import ClassMap, map_classes
from vocseg.convert.detect import detect
from vocseg.convert.readers.cityscapes import find_cityscapes
from vocseg.convert.readers.coco import find_coco
from vocseg.convert.readers.folders import find_folders
from vocseg.convert.readers.label_studio import find_label_studio
from vocseg.convert.readers.labelme import find_labelme
from vocseg.convert.readers.supervisely import find_supervisely
from vocseg.convert.readers.voc_folder import find_voc
from vocseg.convert.readers.yolo import find_yolo
from vocseg.convert.source import IMAGES, Item, Mask, Source, left_out
from vocseg.convert.stratify import parse_shares, stratified_split
from vocseg.convert.writers import CocoWriter, Splits, VocWriter, Writer, YoloWriter
from vocseg.data.image_io import UNREADABLE, image_size, open_image, pillow_reason, read_image
from vocseg.data.layout import IMAGE_SUFFIXES, read_split
from vocseg.data.near_duplicates import Fingerprint, fingerprint, near_duplicates
from vocseg.errors import DataError, OutputError, SettingError, nearest
from vocseg.utils.files import building
from vocseg.utils.progress import progress
from vocseg.utils.text import counted

DEFAULT_SHARES = (0.8, 0.2)
NO_CLASS = {"void", "unlabeled", "unlabelled", "ignore", "ignored"}
"""Names that tables give to what is seldom meant to be learned."""


@dataclass(frozen=True)
class Options:
    """What ``vocseg data convert`` takes; see its help."""

    kind: str = "auto"
    to: str = "voc"
    images: Path | None = None
    masks: Path | None = None
    classes: tuple[str, ...] | None = None
    colors: Path | None = None
    void: tuple[str, ...] = ()
    splits: str | None = None
    seed: int = 0
    polygons: bool = False
    parts: bool = False


@dataclass(frozen=True)
class Report:
    """What was found and written. ``images_per_class`` and ``pixels`` are by class, ``void`` is a share of all pixels."""

    kind: str
    found: str
    images: int
    classes: tuple[str, ...]
    images_per_class: tuple[int, ...]
    pixels: tuple[int, ...]
    void: float
    splits: dict[str, int]
    notes: list[str] = field(default_factory=list)

    def describe(self) -> list[str]:
        """What was found and decided, a line each."""
        absent = [name for name, count in zip(self.classes, self.images_per_class, strict=True) if not count]
        lines = [f"{self.kind}: {self.found}", *dict.fromkeys(self.notes)]
        lines.append(f"classes: {', '.join(self.classes[:24])}{', ...' if len(self.classes) > 24 else ''}; void: {self.void:.1%}")
        if absent:
            lines.append(f"in no image: {', '.join(absent)}")
        last = len(self.classes) - 1
        if self.classes[-1] == f"class_{last}" and self.classes[-1] not in absent and f"class_{last - 1}" in absent:
            lines.append(f"label {last} stands apart from the others; where it means no class: --void {last}")
        learned = [name for name in self.classes if name.lower() in NO_CLASS]
        if learned:
            lines.append(f"class {learned[0]} is one like the others; where it means no class: --void {learned[0]}")
        return [*lines, f"splits: {', '.join(f'{split} {count}' for split, count in self.splits.items())}"]


class _Look(NamedTuple):
    image: str
    pixels: NDArray[np.int64]
    fingerprint: Fingerprint | None


def convert(source: Path, out: Path, options: Options = Options()) -> Report:
    """Convert the data set ``source`` into the new or empty folder ``out``.

    Everything is read and checked before the first mask is written, and ``out`` appears only when it is complete. Raises
    DataError, SettingError or OutputError, naming file and value.
    """
    if options.images is None and source.resolve() in out.resolve().parents:
        raise OutputError(f"{out} lies inside {source}, and would be read as part of it; choose another folder")
    shares = parse_shares(options.splits) if options.splits and not Path(options.splits).is_dir() else None
    found = find_source(source, options)
    splits, pool, how = _known_splits(found, options, shares)
    listed = {name for names in splits.values() for name in names} | set(pool)
    items = [item for item in found.items if item.id in listed]
    found.notes += left_out(
        len(found.items) - len(items), "image", " in no split", *[i.id for i in found.items if i.id not in listed][:1]
    )
    anew = [item for item in items if item.embedded is None and item.id != item.image.stem]
    if anew:
        found.notes.append(f"{counted(len(anew), 'image')} renamed (such as {anew[0].image.name} to {anew[0].id})")
    drawn_from = set(pool)
    with building(out) as folder, ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as workers:
        images = folder / (voc.IMAGES if options.to == "voc" else "images")
        images.mkdir()
        looked = workers.map(lambda item: _look(item, images, item.id in drawn_from), items)
        looks = list(progress(looked, len(items), f"read {found.kind}"))
        pixels = np.array([look.pixels for look in looks]).reshape(len(items), 256)
        classes = map_classes(found, pixels > 0, options.classes, options.void, lambda *where: _locate(items, *where))
        counts = _by_class(pixels, classes)
        if pool:
            drawn, notes = _draw(items, looks, counts, pool, shares or DEFAULT_SHARES, options)
            splits, found.notes = splits | drawn, found.notes + notes
            found.notes += _not_shown(drawn, items, counts, classes.classes)
        writer = _writer(folder, options, classes.classes, splits, bool(counts[:, voc.VOID].any()))
        _write(writer, items, looks, classes, workers)
        writer.finish(splits)
    number = len(classes.classes)
    return Report(
        found.kind,
        found.found,
        len(items),
        classes.classes,
        tuple((counts[:, :number] > 0).sum(0).tolist()),
        tuple(counts[:, :number].sum(0).tolist()),
        float(counts[:, voc.VOID].sum() / max(1, counts.sum())),
        {split: len(names) for split, names in splits.items()},
        [*found.notes, f"{counted(number, 'class')}, {classes.note}", how],
    )


def find_source(path: Path, options: Options) -> Source:
    """The data set at ``path`` in the format that the options name or that is found there."""
    mask_dir = str(options.masks) if options.masks else None
    kind = options.kind
    if kind == "auto":
        kind = "folders" if options.masks and options.images else detect(path, mask_dir or voc.MASKS)
    if options.colors is not None and kind not in ("folders", "camvid", "voc"):
        raise SettingError(f"--colors is for masks in folders, not for {kind}")
    readers: dict[str, Callable[[], Source]] = {
        "folders": lambda: find_folders(path, options.images, options.masks, options.colors),
        "camvid": lambda: find_folders(path, options.images, options.masks, options.colors, camvid=True),
        "voc": lambda: find_voc(path, mask_dir, options.colors),
        "coco": lambda: find_coco(path, options.images),
        "labelme": lambda: find_labelme(path, options.images),
        "cityscapes": lambda: find_cityscapes(path, options.images),
        "supervisely": lambda: find_supervisely(path, options.images),
        "label-studio": lambda: find_label_studio(path, options.images),
        "yolo": lambda: find_yolo(path, options.images),
    }
    if kind not in readers:
        raise SettingError(f"from '{kind}' is neither auto nor any of {', '.join(readers)}")
    return readers[kind]()


def _known_splits(source: Source, options: Options, shares: Sequence[float] | None) -> tuple[Splits, list[str], str]:
    """The splits that are known, the images that are yet to be divided, and how this came about."""
    ids = [item.id for item in source.items]
    drawn = f"splits drawn by classes, near-duplicates together, seed {options.seed}"
    if shares is not None:
        return {}, ids, drawn
    if options.splits is not None:
        return _read_lists(Path(options.splits), source.items), [], f"splits from the lists in {options.splits}"
    own = source.splits
    rest = _rest([own.get("val", []), own.get("test", [])], ids)
    if "val" in own or not rest:
        return own | ({"train": rest} if rest and "train" not in own else {}), [], "splits are the source's own"
    kept = {split: names for split, names in own.items() if split == "test"}
    return kept, rest, drawn + (" (the source has no val)" if own else "")


def _rest(taken: Sequence[list[str]], ids: list[str]) -> list[str]:
    out = {name for names in taken for name in names}
    return [id_ for id_ in ids if id_ not in out]


def _read_lists(folder: Path, items: list[Item]) -> Splits:
    """Splits of a folder of lists, one image a line: its id, name, or path."""
    stems = Counter(item.image.stem for item in items)
    by_name = {item.image.stem: item.id for item in items if stems[item.image.stem] == 1} | {item.id: item.id for item in items}
    splits: Splits = {}
    for path in sorted(folder.glob("*.txt")):
        for name in dict.fromkeys(read_split(path)):
            bare = name[: -len(Path(name).suffix)] if name.lower().endswith(IMAGES) else name
            spellings = (bare, bare.replace("\\", "/").strip("./").replace("/", "_"), Path(bare).name)
            id_ = next((by_name[one] for one in spellings if one in by_name), None)
            if id_ is None:
                raise DataError(f"split list {path} names '{name}', which is no image with a mask{nearest(bare, list(by_name))}")
            splits.setdefault(path.stem, []).append(id_)
    if not splits:
        raise DataError(f"{folder} holds no split list (train.txt, val.txt, ...)")
    return splits


def _look(item: Item, folder: Path, print_: bool) -> _Look:
    """Copy an image, see that its mask fits it, count the mask's labels, and take the image's fingerprint where wanted."""
    image = _copy_image(item, folder)
    try:
        mask = item.mask()
    except MemoryError as error:  # an annotation file may claim any size
        raise DataError(f"mask {item.origin} of {item.id} does not fit into memory: {error}") from error
    height, width = image_size(folder / image)
    if mask.shape != (height, width):
        raise DataError(f"image {item.image} is {height}x{width} but its mask {item.origin} is {mask.shape[0]}x{mask.shape[1]}")
    pixels = np.bincount(mask.reshape(-1), minlength=256)
    return _Look(image, pixels, fingerprint(read_image(folder / image)) if print_ else None)


def _copy_image(item: Item, folder: Path) -> str:
    """Put an image, byte for byte, under its id into ``folder``; formats that the layout lacks become PNG."""
    if item.embedded is not None:
        content = item.embedded()
        try:
            with open_image(io.BytesIO(content)) as image:
                suffix = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "GIF": ".gif"}[image.format or ""]
        except (KeyError, *UNREADABLE) as error:
            raise DataError(f"the image inside {item.image} cannot be read: {pillow_reason(error)}") from error
        (folder / f"{item.id}{suffix}").write_bytes(content)
        return f"{item.id}{suffix}"
    suffix = item.image.suffix.lower()
    image_size(item.image)
    if suffix in IMAGE_SUFFIXES:
        shutil.copyfile(item.image, folder / f"{item.id}{suffix}")
        return f"{item.id}{suffix}"
    pixels = read_image(item.image).permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(folder / f"{item.id}.png")
    return f"{item.id}.png"


def _locate(items: list[Item], image: int, label: int) -> str:
    mask: Mask = items[image].mask()
    y, x = np.argwhere(mask == label)[0]
    item = items[image]
    of = f" of {item.image.name}" if item.origin.suffix == ".json" else ""  # which may be of many images
    return f"mask {item.origin}{of} holds label {label} ({counted(int((mask == label).sum()), 'pixel')}, the first at x={x}, y={y})"


def _by_class(pixels: NDArray[np.int64], classes: ClassMap) -> NDArray[np.int64]:
    """Pixels of each class id (images x 256) from those of each label."""
    counts = np.zeros_like(pixels)
    np.add.at(counts.T, classes.ids.astype(np.intp), pixels.T)
    return counts


def _draw(
    items: list[Item], looks: list[_Look], counts: NDArray[np.int64], pool: list[str], shares: Sequence[float], options: Options
) -> tuple[Splits, list[str]]:
    """Splits of the images of ``pool``, and a note on near-duplicates."""
    wanted = set(pool)
    places = [place for place, item in enumerate(items) if item.id in wanted]
    alike = near_duplicates([print_ for place in places if (print_ := looks[place].fingerprint) is not None])
    number = sum(map(len, alike))
    note = [f"near-duplicates: {counted(number, 'image')} in {counted(len(alike), 'group')}"] if alike else []
    if len(places) - number + len(alike) < len(shares):
        alike, note = [], ["near-duplicates: all images resemble each other, so splits are drawn as if none did"]
    shown = counts[places][:, : voc.VOID] > 0
    parts = stratified_split(shown, shares, alike, options.seed)
    names = ("train", "val", "test")[: len(shares)]
    return {name: [items[places[one]].id for one in part] for name, part in zip(names, parts, strict=True)}, note


def _not_shown(drawn: Splits, items: list[Item], counts: NDArray[np.int64], classes: tuple[str, ...]) -> list[str]:
    """A note for each split on the classes that it lacks though images show them: there are too few of these."""
    places = {item.id: place for place, item in enumerate(items)}
    shown = counts[:, : len(classes)] > 0
    notes = []
    for split, ids in drawn.items():
        here = shown[[places[id_] for id_ in ids]].any(0)
        lacking = [f"{classes[label]} ({shown[:, label].sum()})" for label in np.flatnonzero(shown.any(0) & ~here)]
        if lacking:
            notes.append(f"not in {split}, of so few images: {', '.join(lacking)}")
    return notes


def _writer(folder: Path, options: Options, classes: tuple[str, ...], splits: Splits, void: bool) -> Writer:
    if options.to == "coco":
        return CocoWriter(folder, classes, splits, void, options.polygons, options.parts)
    return YoloWriter(folder, classes) if options.to == "yolo" else VocWriter(folder, classes)


def _write(writer: Writer, items: list[Item], looks: list[_Look], classes: ClassMap, pool: ThreadPoolExecutor) -> None:
    def one(place: int) -> object:
        return writer.write(items[place].id, looks[place].image, classes.ids[items[place].mask()])

    written = progress(pool.map(one, range(len(items))), len(items), "write")
    for item, result in zip(items, written, strict=True):
        writer.collect(item.id, result)
