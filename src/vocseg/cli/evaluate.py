"""``vocseg evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vocseg.cli.options import (
    BatchSizeOption,
    DataOption,
    DeviceOption,
    EngineOption,
    ExactOption,
    JsonOption,
    MaskDirOption,
    MaxShortSideOption,
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
    max_short_side: MaxShortSideOption = None,
    match_classes: Annotated[bool, Parameter(negative=())] = False,
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
    match_classes
        Score the classes that model and data both name, if the model has others too.
    save_masks
        Write the predicted masks to this folder, as palette PNGs named by id.
    """
    data_folder(data)  # fail before torch is imported
    from vocseg.cli.console import log_to_terminal, terminal
    from vocseg.evaluation.evaluate import evaluate as run
    from vocseg.evaluation.result import evaluation_report

    log_to_terminal()
    result = run(
        model, data, split, mask_dir=mask_dir, weights=weights, device=device, precision=precision, engine=engine, exact=exact,
        max_short_side=max_short_side, match_classes=match_classes, batch_size=batch_size, save_masks=save_masks, json=json,
        title=f"evaluate {split}",
    )  # fmt: skip
    title = f"{model} in {result.about['precision']} on {split} of {result.about['data']}"
    terminal().print(evaluation_report(result, title), crop=False)
