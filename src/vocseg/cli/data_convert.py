"""``vocseg data convert``."""

from __future__ import annotations

import itertools
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from vocseg.cli.options import JsonOption
from vocseg.errors import DataError

Kind = Literal["auto", "folders", "coco", "labelme", "cityscapes", "camvid", "supervisely", "label-studio", "yolo", "voc"]
FORMATS = {"voc": "VOC layout", "coco": "COCO format", "yolo": "YOLO format"}


def convert(
    source: Path,
    out: Path,
    /,
    *,
    kind: Annotated[Kind, Parameter(name="--from")] = "auto",
    to: Literal["voc", "coco", "yolo"] = "voc",
    images: Path | None = None,
    masks: Path | None = None,
    classes: str | None = None,
    colors: Annotated[Path | None, Parameter(name=("--colors", "--colors"))] = None,
    void: str | None = None,
    splits: str | None = None,
    seed: int = 0,
    segments: Literal["rle", "polygons"] = "rle",
    objects: Literal["classes", "parts"] = "classes",
    json: JsonOption = None,
) -> None:
    """Convert a data set into VOC layout, or out of it.

    Road scenes with masks of class ids where 11 means no class, from the files to a score:

    ```
    vocseg data convert roads voc_roads --void 11 --classes names.txt
    vocseg data doctor voc_roads
    vocseg train --data voc_roads --config finetune --out runs/roads
    vocseg evaluate runs/roads/best.safetensors --data voc_roads
    ```

    Colored masks, COCO, and out of VOC:

    ```
    vocseg data convert shots voc_shots --colors colors.csv
    vocseg data convert coco/annotations voc_coco --images coco
    vocseg data convert VOCdevkit coco_voc --to coco
    ```

    SOURCE is told by what lies there:

    - folders: images and masks in folders of their own (images and masks, train and trainannot, ...), or side by side;
      masks may be called like their images with an ending (`_L`, `_mask`). Folders called train, val, test are splits.
    - camvid: folders, with the 11 classes of SegNet's CamVid (11 is void). Only when asked for.
    - cityscapes: `*_labelIds.png` in nested folders; the 19 classes that are scored, all else void.
    - coco: instance or stuff JSON. The smaller object is on top, crowds are void.
    - labelme, supervisely, label-studio: their JSON exports. The later object is on top.
    - yolo: polygons in text files beside a `data.yaml`. The smaller object is on top.
    - voc: VOC layout, also with CVAT's `labelmap.txt`.

    In coco, labelme, supervisely, label-studio and yolo, pixels in no object are background; `--void background` makes them void.

    OUT gets JPEGImages (the same files), SegmentationClass (ids 0 to n-1, 255 void), ImageSets/Segmentation and
    classes.txt, all at once when everything is done. Nothing in SOURCE changes.

    Parameters
    ----------
    source
        Folder, or annotation file (COCO, Label Studio, YOLO's data.yaml).
    out
        Where to write; must be new or empty.
    kind
        Format of SOURCE.
    to
        voc, coco (JSON with images/) or yolo (polygons with data.yaml; it knows neither background nor void).
    images
        Folder of the images, where they are not found by themselves.
    masks
        Folder of the masks; of VOC layout its name, as SegmentationClassAug. There, images without a mask in SegmentationClass
        take it from another SegmentationClass* by themselves.
    classes
        Names split by commas, or a file with one a line: of labels 0, 1, 2, ... in masks of ids; where the source names its
        classes, those to take, in the order of their new ids. Without it, ids without names are called class_0, class_1, ...
    colors
        What the colors of masks mean: CSV with name,r,g,b (or id,name,r,g,b; a header does no harm), or CVAT's labelmap.txt.
    void
        Labels of id masks, or class names, that stand for no class, split by commas: 11 or 0,11 or void. 255 always does.
        Ids above them close up.
    splits
        Folder with train.txt, val.txt, ...; or shares, as 0.8/0.2 or 0.7/0.15/0.15 (train, val, test). Without it, the
        source's own splits, or 0.8/0.2. Shares are drawn so that rare classes are in each split and near-duplicates in one.
    seed
        Same seed, same shares.
    segments
        COCO: run lengths, which are exact everywhere, or polygons along pixel edges.
    objects
        COCO: one object for each class of an image, or for each part of it that hangs together.
    """
    if not source.exists():  # told before torch is imported
        raise DataError(f"{source} does not exist")
    from vocseg.convert import Options, convert, parse_classes
    from vocseg.utils.files import refuse_to_replace, write_json
    from vocseg.utils.text import counted

    options = Options(
        kind=kind,
        to=to,
        images=images,
        masks=masks,
        classes=parse_classes(classes) if classes else None,
        colors=colors,
        void=tuple(token.strip() for token in (void or "").split(",") if token.strip()),
        splits=splits,
        seed=seed,
        polygons=segments == "polygons",
        parts=objects == "parts",
    )
    given = [source, images, masks, None if splits is None else Path(splits)]
    read = (path for place in given if place is not None for path in (place, *place.rglob("*")))
    refuse_to_replace([json], itertools.chain([colors, classes], read))
    report = convert(source, out, options)
    for line in report.describe():
        print(line)
    print(f"written: {out}, {counted(report.images, 'image')} in {FORMATS[to]}")
    if to == "voc":
        quoted = shlex.quote(str(out))
        print(f"next: vocseg data doctor {quoted}, vocseg train --data {quoted} --config finetune")
    if json is not None:
        write_json(json, {"source": str(source), "out": str(out), "to": to} | asdict(report))
