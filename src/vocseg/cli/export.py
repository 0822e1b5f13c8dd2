"""``vocseg export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from vocseg.cli.options import Classes, Flag, Json, Positive, Size, Weights, class_names
from vocseg.data.layout import VocFolder
from vocseg.inference.options import check_files
from vocseg.voc import MASKS


def export(
    model: str = "vocseg-s",
    /,
    *,
    to: Literal["onnx", "openvino"] = "onnx",
    out: Path | None = None,
    size: Annotated[Size | None, Parameter(show_default=False)] = None,
    int8: Flag = False,
    data: str | None = None,
    split: str = "val",
    calibrate_on: str = "train",
    calibration_images: Positive = 300,
    max_loss: Annotated[float, Parameter(validator=Number(gte=0))] = 0.3,
    mask_dir: str = MASKS,
    weights: Weights = None,
    classes: Classes = None,
    json: Json = None,
) -> None:
    """Export a model for ONNX Runtime or OpenVINO.

    One graph from uint8 RGB images (N x 3 x H x W) to masks (uint8 class ids, N x H x W), including normalization,
    padding, upsampling and arg max. The file is written only if its masks match the model's.

    ```
    vocseg export runs/mine/best.safetensors --out mine.onnx
    vocseg export vocseg-s --to openvino --int8 --data data
    ```

    Args:
        model: Model file or name.
        to: Format: onnx (.onnx) or openvino (.xml and .bin).
        out: File to write. Default: MODEL.onnx or MODEL.xml in the current folder.
        size: Accept only images of this size, HxW. Default: any size.
        int8: Quantize to 8-bit integers: smaller and faster. Requires --to openvino and --data, for calibration.
        data: Data set on which the file is compared with the model. Default: the sample photographs.
        split: Split to compare on.
        mask_dir: Folder of the masks in the data set, e.g. SegmentationClassAug.
        calibrate_on: Split to calibrate --int8 on.
        calibration_images: Number of calibration images.
        max_loss: Largest drop of mIoU that --int8 may cause, in percentage points.
    """
    check_files(model, weights)  # fail before torch is imported
    if data is not None:
        VocFolder.find(data, mask_dir).lines(split)
    from vocseg.cli.console import terminal
    from vocseg.export.export import export as run

    report = run(
        model, out, to=to, size=size, weights=weights, classes=class_names(classes), int8=int8, data=data, split=split,
        mask_dir=mask_dir, calibrate_on=calibrate_on, calibration_images=calibration_images, max_loss=max_loss, json=json,
    )  # fmt: skip
    terminal().print(report.layout())
