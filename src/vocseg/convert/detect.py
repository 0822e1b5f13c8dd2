"""Find out which format a data set is in, and read it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vocseg import voc
from vocseg.convert.files import files_below, json_kind
from vocseg.convert.readers.cityscapes import find_cityscapes
from vocseg.convert.readers.coco import find_coco
from vocseg.convert.readers.folders import find_folders
from vocseg.convert.readers.label_studio import find_label_studio
from vocseg.convert.readers.labelme import find_labelme
from vocseg.convert.readers.supervisely import find_supervisely
from vocseg.convert.readers.voc_folder import find_voc
from vocseg.convert.readers.yolo import find_yaml, find_yolo
from vocseg.convert.source import Source
from vocseg.data.layout import VocFolder
from vocseg.errors import DataError, SettingError

MAX_JSON_FILES = 50
"""How many JSON files are looked at before a folder counts as plain images and masks."""


def find_source(
    path: Path, kind: str = "auto", images: Path | None = None, masks: Path | None = None, colors: Path | None = None
) -> Source:
    """Read the data set at ``path`` in the format ``kind``, or in the one that is detected.

    Raises SettingError for an unknown format or a color table that the format cannot use, DataError as the readers do.
    """
    mask_dir = str(masks) if masks else None
    if kind == "auto":
        kind = "folders" if masks and images else detect(path, mask_dir or voc.MASKS)
    if colors is not None and kind not in ("folders", "camvid", "voc"):
        raise SettingError(f"--colors is for masks in folders, not for {kind}")
    readers: dict[str, Callable[[], Source]] = {
        "folders": lambda: find_folders(path, images, masks, colors),
        "camvid": lambda: find_folders(path, images, masks, colors, camvid=True),
        "voc": lambda: find_voc(path, mask_dir, colors),
        "coco": lambda: find_coco(path, images),
        "labelme": lambda: find_labelme(path, images),
        "cityscapes": lambda: find_cityscapes(path, images),
        "supervisely": lambda: find_supervisely(path, images),
        "label-studio": lambda: find_label_studio(path, images),
        "yolo": lambda: find_yolo(path, images),
    }
    if kind not in readers:
        raise SettingError(f"unknown source format '{kind}'; choose auto or one of {', '.join(readers)}")
    return readers[kind]()


def detect(root: Path, mask_dir: str = voc.MASKS) -> str:
    """Return the format of ``root``; folders if it is none of the others.

    Raises DataError if the path does not exist, or is a file in no known annotation format.
    """
    if root.is_file():
        kind = "yolo" if find_yaml(root) else json_kind(root) if root.suffix.lower() == ".json" else None
        if kind not in ("yolo", "coco", "label-studio"):
            raise DataError(f"{root} is not an annotation file of COCO (JSON), Label Studio (JSON export) or YOLO (data.yaml)")
        return kind
    if not root.is_dir():
        raise DataError(f"{root} does not exist")
    if _is_voc(root, mask_dir):
        return "voc"
    if (root / "meta.json").is_file() and next(root.rglob("ann/*.json"), None):
        return "supervisely"
    if any(path.stem.endswith("_labelIds") for path in files_below(root, (".png",))):
        return "cityscapes"
    if find_yaml(root):
        return "yolo"
    return next((kind for path in files_below(root, (".json",))[:MAX_JSON_FILES] if (kind := json_kind(path))), "folders")


def _is_voc(root: Path, mask_dir: str) -> bool:
    try:
        VocFolder.find(root, mask_dir)
    except DataError:
        return False
    return True
