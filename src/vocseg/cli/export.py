"""``vocseg export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from vocseg.cli.options import JsonOption, MaskDirOption, WeightsOption
from vocseg.data.layout import data_folder, protect_data
from vocseg.errors import SettingError
from vocseg.voc import MASKS


def export(
    model: str = "vocseg-s",
    /,
    *,
    to: Literal["onnx", "openvino"] = "onnx",
    out: Path | None = None,
    size: str | None = None,
    int8: Annotated[bool, Parameter(negative=())] = False,
    data: str | None = None,
    split: str = "val",
    calibrate_on: str = "train",
    calibration_images: Annotated[int, Parameter(validator=Number(gte=1))] = 300,
    max_loss: Annotated[float, Parameter(validator=Number(gte=0))] = 0.3,
    mask_dir: MaskDirOption = MASKS,
    weights: WeightsOption = None,
    json: JsonOption = None,
) -> None:
    """Export a model for ONNX Runtime or OpenVINO.

    One graph from uint8 RGB images (N x 3 x H x W) to masks (uint8 class ids, N x H x W), including normalization,
    padding, upsampling and arg max. The file is written only if its masks match the model's.

    ```
    vocseg export
    vocseg export runs/deeplabv3_resnet101/best.safetensors --to openvino --out network.xml
    vocseg export vocseg-s --to openvino --int8 --data data
    ```

    Parameters
    ----------
    model
        Model file or name.
    to
        Format: onnx (.onnx) or openvino (.xml and .bin).
    out
        File to write. Default: MODEL.onnx or MODEL.xml in the current folder.
    size
        Accept only images of this size, HxW. Default: any size.
    int8
        Quantize to 8-bit integers: smaller and faster. Requires --to openvino and --data, for calibration.
    data
        Data set on which the file is compared with the model. Default: the sample photographs.
    split
        Split to compare on.
    calibrate_on
        Split to calibrate --int8 on.
    calibration_images
        Number of calibration images.
    max_loss
        Largest drop of mIoU that --int8 may cause, in percentage points.
    """
    if int8 and to != "openvino":
        raise SettingError("--int8 requires --to openvino")
    if int8 and data is None:
        raise SettingError("--int8 requires --data: images to calibrate on and masks to compare the scores")
    if data is not None:
        data_folder(data)  # fail before torch is imported
    from vocseg.data.dataset import SplitDataset
    from vocseg.data.layout import VocFolder
    from vocseg.export.export import SUFFIXES, Int8, file_bytes
    from vocseg.export.export import export as write
    from vocseg.export.report import print_parity
    from vocseg.models import create_model
    from vocseg.models.registry import is_file_name, require_trained
    from vocseg.utils.files import refuse_to_replace, write_json
    from vocseg.utils.text import parse_size

    path = out or Path((Path(model).stem if is_file_name(model) else model.replace(":", "-")) + SUFFIXES[to])
    if path.suffix != SUFFIXES[to]:
        raise SettingError(f"--out {path} must end in {SUFFIXES[to]} for {to}")
    outputs = [path, path.with_suffix(".bin") if to == "openvino" else None, json]
    refuse_to_replace(outputs, [model, weights])
    if data is not None:
        protect_data(data, [mask_dir], outputs)
    pixels = None if size is None else parse_size(size)
    require_trained(model, weights)
    built = create_model(model, weights=weights).eval()
    judged_on = eight = None
    if data is not None:
        folder = VocFolder.find(data, mask_dir)
        judged_on = SplitDataset(folder, split)
        built.info.check_classes(judged_on.classes, str(folder.root))
        if int8:
            eight = Int8(SplitDataset(folder, calibrate_on), calibration_images, max_loss)
    parity = write(built, path, to, size=pixels, judged_on=judged_on, int8=eight)
    print_parity(parity, model, path)
    if json is not None:
        write_json(json, {"model": model, "file": str(path), "bytes": file_bytes(path)} | parity.to_dict())
