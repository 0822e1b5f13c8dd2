"""``vocseg evaluate``."""

from __future__ import annotations

from pathlib import Path

from vocseg.cli.options import (
    BatchSizeOption,
    DataOption,
    DeviceOption,
    EngineOption,
    ExactOption,
    JsonOption,
    MaskDirOption,
    PrecisionOption,
    SplitOption,
    WeightsOption,
)
from vocseg.data.layout import data_folder
from vocseg.voc import MASKS


def evaluate(
    model: str,
    *,
    data: DataOption = "data",
    split: SplitOption = "val",
    mask_dir: MaskDirOption = MASKS,
    weights: WeightsOption = None,
    save_masks: Path | None = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    engine: EngineOption = "auto",
    exact: ExactOption = False,
    batch_size: BatchSizeOption = None,
    json: JsonOption = None,
) -> None:
    """Score a model on a split.

    One confusion matrix over all images at their own size, without void pixels, as in the VOC devkit.

    ```
    vocseg evaluate runs/deeplabv3_resnet101/best.safetensors --data data
    vocseg evaluate lraspp_mobilenet_v3_large --data data --save-masks masks --json scores.json
    ```

    Parameters
    ----------
    model
        Model file or name.
    save_masks
        Write the predicted masks to this folder, as palette PNGs named by id.
    """
    data_folder(data)  # fail before torch is imported
    from vocseg.cli.console import terminal
    from vocseg.evaluation.evaluate import evaluate as run
    from vocseg.evaluation.result import evaluation_report

    result = run(
        model, data, split, mask_dir=mask_dir, weights=weights, device=device, precision=precision, engine=engine, exact=exact,
        batch_size=batch_size, save_masks=save_masks, json=json, title=f"evaluate {split}",
    )  # fmt: skip
    title = f"{model} in {result.about['precision']} on {split} of {result.about['data']}"
    terminal().print(evaluation_report(result, title), crop=False)
