"""``vocseg data convert``."""

from __future__ import annotations

import itertools
import shlex
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from vocseg import voc
from vocseg.cli.options import Flag, Json
from vocseg.errors import DataError
from vocseg.utils.urls import refuse_url

Kind = Literal["auto", "folders", "coco", "labelme", "cityscapes", "camvid", "supervisely", "label-studio", "yolo", "voc"]
FORMATS = {"voc": "VOC layout", "coco": "COCO format", "yolo": "YOLO format", "labelme": "LabelMe format"}


def convert(
    source: Path,
    out: Path,
    /,
    *,
    kind: Annotated[Kind, Parameter(name="--from")] = "auto",
    to: Literal["voc", "coco", "yolo", "labelme"] = "voc",
    images: Path | None = None,
    masks: Path | None = None,
    classes: str | None = None,
    colors: Path | None = None,
    void: str | None = None,
    others: Literal["background", "void"] | None = None,
    splits: str | None = None,
    seed: int = 0,
    group: str | None = None,
    segments: Literal["rle", "polygons"] = "rle",
    objects: Literal["classes", "parts"] = "classes",
    crowds: Literal["auto", "void", "objects"] = "auto",
    simplify: Annotated[float, Parameter(validator=Number(gte=0))] = 0.0,
    corrections: Path | None = None,
    allow_skipped: Flag = False,
    allow_outside: Flag = False,
    json: Json = None,
) -> None:
    """Convert a data set to VOC layout, or from VOC layout to COCO, YOLO or LabelMe.

    ```
    vocseg data convert roads voc_roads --void 11 --classes names.txt
    vocseg data convert coco/annotations voc_coco --images coco
    ```

    The format of SOURCE is detected; only camvid (SegNet's 11 classes, 11 is void) must be named. Folders of images and
    masks are paired by name, with suffixes such as `_L` or `_mask`. In formats of objects (coco, labelme, supervisely,
    label-studio, yolo), pixels in no object are background, unless `--void background` makes them void.

    OUT gets JPEGImages (unchanged files), SegmentationClass (ids 0 to n-1, 255 void), ImageSets/Segmentation and
    classes.txt. It appears only when the conversion is complete. SOURCE is never changed.

    Args:
        source: Folder or annotation file (COCO, Label Studio, YOLO's data.yaml).
        out: Output folder; must be new or empty.
        kind: Format of SOURCE.
        to: Output format: voc, coco (JSON and images/), yolo (polygons and data.yaml; YOLO has no background and no void) or
            labelme (a JSON beside each image).
        images: Folder of the images, if they are not found.
        masks: Folder of the masks; for VOC layout its name, e.g. SegmentationClassAug. In VOC layout, images without a
            mask in SegmentationClass take it from another SegmentationClass* folder.
        classes: Class names separated by commas, or a file with one name per line. For id masks: the names of labels 0,
            1, 2, ... If the source names its classes: those to keep, in the order of their new ids, also if the
            source lacks some, so that batches of a project get the same ids. Default: the source's names, or class_0, class_1, ...
        colors: Classes of colored masks: a CSV file with name,r,g,b or id,name,r,g,b (a header is allowed), or CVAT's
            labelmap.txt.
        void: Labels of id masks, or class names, that become void, separated by commas: 11 or 0,11 or void. 255 is
            always void. Higher ids are shifted down to stay contiguous.
        others: What pixels of other classes than those in --classes become. Default: they are an error.
        splits: Folder with train.txt, val.txt, ..., or fractions such as 0.8/0.2 or 0.7/0.15/0.15 (train, val, test).
            1: all images in train. Default: the source's own splits, or 0.8/0.2. Fractions are drawn so that each split has
            rare classes and near-duplicates stay in one split.
        seed: Seed of the drawn splits.
        group: Keep images together in drawn splits: sequence (names equal but for their last number, as frames of a
            video have), or a regular expression whose match in folder/id names the group.
        segments: COCO: run lengths, which are exact, or polygons along pixel edges.
        objects: COCO: one object per class of an image, or one per connected region.
        crowds: Crowd regions of a COCO source: void, objects, or auto: void, unless every object is a crowd, as some
            tools mark what is painted.
        simplify: Leave out corners of polygons (yolo, labelme, coco with --segments polygons): borders move by so many pixels
            at most, and neighbors keep common borders. A line says what it cost.
        corrections: Data set of any format, such as LabelMe files, whose masks replace those of the same ids.
        allow_skipped: Convert even if all objects of a class or of an image are of kinds that are not drawn, such as
            boxes and points.
        allow_outside: Follow links, and data.yaml, to files outside of SOURCE.
    """
    refuse_url(source, "converted")
    if not source.exists():  # fail before torch is imported
        raise DataError(f"{source} does not exist")
    from vocseg.cli.console import say
    from vocseg.convert.pipeline import convert
    from vocseg.utils.files import refuse_to_replace, write_json
    from vocseg.utils.text import counted

    places = [source, images, masks, corrections, None if splits is None else Path(splits)]
    read = (path for place in places if place is not None for path in (place, *place.rglob("*")))
    refuse_to_replace([json], itertools.chain([colors, classes], read))
    report = convert(
        source, out, to=to, kind=kind, images=images, masks=masks, classes=classes, colors=colors, void=void or "", others=others,
        splits=splits, seed=seed, group=group, segments=segments, objects=objects, crowds=crowds, simplify=simplify,
        corrections=corrections, allow_skipped=allow_skipped, allow_outside=allow_outside,
    )  # fmt: skip
    say(*report.lines())
    say(f"written: {out}, {counted(report.images, 'image')} in {FORMATS[to]}")
    if to == "voc":
        quoted = shlex.quote(str(out))
        recipe = "refine" if report.classes == voc.CLASSES else "finetune"
        say(f"next: vocseg data doctor {quoted}, vocseg train --data {quoted} --config {recipe}")
    if json is not None:
        write_json(json, {"source": str(source), "out": str(out), "to": to} | report.to_dict())
