"""Which format a data set is in, by what lies there."""

from __future__ import annotations

from pathlib import Path

from vocseg import voc
from vocseg.convert.readers.coco import looks_like_coco
from vocseg.convert.readers.label_studio import looks_like_label_studio
from vocseg.convert.readers.yolo import find_yaml
from vocseg.convert.source import files_below
from vocseg.data.layout import VocFolder
from vocseg.errors import DataError

LOOKED_AT = 50
"""JSON files whose beginning is read."""


def detect(root: Path, mask_dir: str = voc.MASKS) -> str:
    """The format of ``root``: voc, supervisely, cityscapes, labelme, coco, label-studio, yolo, or else folders.

    Raises DataError for a path that is missing, or a file that is no annotation file.
    """
    if root.is_file() and find_yaml(root):
        return "yolo"
    if root.is_file():
        kind = _kind_of_json(root) if root.suffix.lower() == ".json" else None
        if kind not in ("coco", "label-studio"):
            raise DataError(f"{root} is neither COCO's JSON, Label Studio's JSON export, nor YOLO's data.yaml")
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
    return next((kind for path in files_below(root, (".json",))[:LOOKED_AT] if (kind := _kind_of_json(path))), "folders")


def _is_voc(root: Path, mask_dir: str) -> bool:
    try:
        VocFolder.find(root, mask_dir)
    except DataError:
        return False
    return True


def _kind_of_json(path: Path) -> str | None:
    with open(path, encoding="utf-8", errors="replace") as file:
        head = file.read(1 << 16)
    if '"shapes"' in head and head.lstrip().startswith("{"):
        return "labelme"
    if looks_like_coco(head):
        return "coco"
    return "label-studio" if looks_like_label_studio(head) else None
