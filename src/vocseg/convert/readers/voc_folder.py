"""Folders in VOC layout, CVAT's with their ``labelmap.txt`` among them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from vocseg import voc
from vocseg.convert.masks import read_labels
from vocseg.convert.source import Item, Source, clean_id, left_out
from vocseg.data.color_table import read_colors
from vocseg.data.layout import VocFolder, files_by_stem, read_split
from vocseg.errors import DataError
from vocseg.utils.text import counted


def find_voc(root: Path, mask_dir: str | None = None, colors: Path | None = None) -> Source:
    """The data set of a folder in VOC layout: the images that its split lists name, or all that have a mask.

    Masks may be colored, with a table in ``colors`` or the folder's ``labelmap.txt``. Without ``mask_dir``, images that
    have no mask in SegmentationClass take it from another SegmentationClass*, as trainaug's do. Raises DataError where there is
    no such layout, or no image with a mask.
    """
    folder = VocFolder.find(root, mask_dir or voc.MASKS)
    labelmap = folder.root / "labelmap.txt"
    path = colors or (labelmap if labelmap.is_file() else None)
    table = read_colors(path) if path else None
    lists = {split: read_split(folder.root / voc.SPLITS / f"{split}.txt") for split in folder.splits}
    known = files_by_stem(folder.root / folder.mask_dir, (".png",))
    others = sorted(path for path in folder.root.glob(f"{voc.MASKS}?*") if path.is_dir()) if mask_dir is None and lists else []
    wanted = dict.fromkeys(id_ for ids in lists.values() for id_ in ids) if lists else dict.fromkeys(sorted(known))
    notes = [f"colors from {path}"] if path else []
    notes += [] if table or (folder.root / voc.CLASSES_FILE).exists() else [f"no {voc.CLASSES_FILE}: classes are called as VOC's"]
    for other in others:
        more = {id_: mask for id_, mask in files_by_stem(other, (".png",)).items() if id_ in wanted and id_ not in known}
        known |= more
        notes += [f"masks of {counted(len(more), 'image')} from {other.name}, which {voc.MASKS} lacks"] if more else []
    bare = [id_ for id_ in wanted if id_ not in known]
    items = []
    for id_ in wanted:
        if id_ in known:
            items.append(Item(clean_id(id_), folder.image(id_), known[id_], partial(read_labels, known[id_], table)))
    if not items:
        raise DataError(f"no image in {folder.root} has a mask in {folder.root / folder.mask_dir}")
    names = table.names if table else dict(enumerate(folder.classes))
    splits = {split: [clean_id(id_) for id_ in dict.fromkeys(ids) if id_ in known] for split, ids in lists.items()}
    source = Source("voc", str(folder.root), items, names, named=table is not None)
    source.splits = {split: ids for split, ids in splits.items() if ids}
    source.notes = notes + left_out(len(bare), "listed image", " without a mask", *bare[:1])
    return source
