"""Find out which format a data set is in, and read it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from vocseg import voc
from vocseg.convert.finder import files_below
from vocseg.convert.readers.coco import find_coco
from vocseg.convert.readers.folders import find_folders
from vocseg.convert.readers.label_studio import find_label_studio
from vocseg.convert.readers.layouts import find_cityscapes, find_voc
from vocseg.convert.readers.tools import find_labelme, find_supervisely
from vocseg.convert.readers.yolo import find_yaml, find_yolo
from vocseg.convert.source import MALFORMED, Source, json_kind
from vocseg.data.layout import VocFolder
from vocseg.errors import DataError, SettingError, reason
from vocseg.utils.urls import refuse_url

MASK_FORMATS = ("folders", "camvid", "voc")
"""Formats of mask files, which may be colored; the others name their classes."""
READERS: dict[str, Callable[[Path, Path | None], Source]] = {
    "coco": find_coco, "labelme": find_labelme, "cityscapes": find_cityscapes, "supervisely": find_supervisely,
    "label-studio": find_label_studio, "yolo": find_yolo,
}  # fmt: skip
MAX_JSON_FILES = 50
"""How many JSON files are looked at before a folder counts as plain images and masks."""


def find_source(
    path: Path,
    kind: str = "auto",
    images: Path | None = None,
    masks: Path | None = None,
    colors: Path | None = None,
    crowds: str = "auto",
    allow_outside: bool = False,
) -> Source:
    """Read the data set at ``path`` in the format ``kind``, or in the one that is detected.

    Readers raise DataError, naming the file and what is wrong in it; whatever else they raise becomes one.
    """
    try:
        if kind == "auto":
            kind = "folders" if masks and images else detect(path, str(masks or voc.MASKS))
        if kind not in (*MASK_FORMATS, *READERS):
            raise SettingError(f"unknown source format '{kind}'; choose auto or one of {', '.join((*MASK_FORMATS, *READERS))}")
        if kind == "voc":
            return find_voc(path, masks, colors)
        if kind in MASK_FORMATS:
            return find_folders(path, images, masks, colors, camvid=kind == "camvid")
        if colors is not None:
            raise SettingError(f"--colors is for masks in folders, not for {kind}")
        if kind == "coco":
            return find_coco(path, images, crowds)
        if kind == "yolo":
            return find_yolo(path, images, allow_outside)
        return READERS[kind](path, images)
    except MALFORMED as error:
        raise DataError(f"cannot read {path} as {kind}: {type(error).__name__}: {reason(error)}") from error


def detect(root: Path, mask_dir: str = voc.MASKS) -> str:
    """Return the format of ``root``; folders if it is none of the others. Raises DataError for other files."""
    if root.is_file():
        kind = "yolo" if find_yaml(root) else json_kind(root) if root.suffix.lower() == ".json" else None
        if kind not in ("yolo", "coco", "label-studio"):
            raise DataError(f"{root} is not an annotation file of COCO (JSON), Label Studio (JSON export) or YOLO (data.yaml)")
        return kind
    refuse_url(root, "converted")
    if not root.is_dir():
        raise DataError(f"{root} does not exist")
    with suppress(DataError):
        VocFolder.find(root, mask_dir)
        return "voc"
    if (root / "meta.json").is_file() and next(root.rglob("ann/*.json"), None):
        return "supervisely"
    if any(path.stem.endswith("_labelIds") for path in files_below(root, (".png",))):
        return "cityscapes"
    if find_yaml(root):
        return "yolo"
    return next((kind for path in files_below(root, (".json",))[:MAX_JSON_FILES] if (kind := json_kind(path))), "folders")
