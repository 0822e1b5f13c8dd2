"""Read folders in VOC layout, including CVAT's with their ``labelmap.txt``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from vocseg import voc
from vocseg.convert.source import Item, Source, read_labels, skipped
from vocseg.data.color_table import read_colors
from vocseg.data.layout import VocFolder, files_by_stem, read_ids
from vocseg.errors import DataError
from vocseg.utils.text import counted


def find_voc(root: Path, mask_dir: Path | None = None, colors: Path | None = None) -> Source:
    """Find the images that the split lists of a folder in VOC layout name, or without lists all with a mask.

    Masks may be colored, with the table ``colors`` or the folder's ``labelmap.txt``. Unless ``mask_dir`` is given,
    images without a mask in SegmentationClass use the one in another SegmentationClass* (trainaug has two such
    folders). Raises DataError if there is no such layout, or no image with a mask.
    """
    folder = VocFolder.find(root, str(mask_dir or voc.MASKS))
    labelmap = folder.root / "labelmap.txt"
    path = colors or (labelmap if labelmap.is_file() else None)
    table = read_colors(path) if path else None
    notes = [f"colors from {path}"] if path else []
    if not table and not (folder.root / voc.CLASSES_FILE).exists():
        notes.append(f"no {voc.CLASSES_FILE}, so VOC's class names are used")
    lists = {split: dict.fromkeys(read_ids(folder.root / voc.SPLITS / f"{split}.txt")) for split in folder.splits}
    masks = files_by_stem(folder.root / folder.mask_dir, (".png",))
    wanted = dict.fromkeys(id_ for ids in lists.values() for id_ in ids) if lists else dict.fromkeys(sorted(masks))
    for other in sorted(folder.root.glob(f"{voc.MASKS}?*/")) if mask_dir is None and lists else []:
        more = {id_: mask for id_, mask in files_by_stem(other, (".png",)).items() if id_ in wanted and id_ not in masks}
        masks |= more
        notes += [f"masks of {counted(len(more), 'image')} from {other.name}, missing in {voc.MASKS}"] if more else []
    items = [Item(folder.image(id_), masks[id_], partial(read_labels, masks[id_], table)) for id_ in wanted if id_ in masks]
    if not items:
        raise DataError(f"no image in {folder.root} has a mask in {folder.root / folder.mask_dir}")
    return Source(
        "voc",
        str(folder.root),
        folder.root,
        items,
        table.names if table else dict(enumerate(folder.classes)),
        named=table is not None,
        notes=notes + skipped([id_ for id_ in wanted if id_ not in masks], "listed image", "without a mask"),
        lists={split: [folder.image(id_) for id_ in ids if id_ in masks] for split, ids in lists.items()},
    )
