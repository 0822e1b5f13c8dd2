"""``vocseg evaluate``."""

from __future__ import annotations

from pathlib import Path

from vocseg.cli.options import (
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
    from vocseg.data.dataset import SplitDataset
    from vocseg.data.layout import VocFolder, protect_data
    from vocseg.evaluation.evaluate import check_classes
    from vocseg.evaluation.evaluate import evaluate as run_evaluation
    from vocseg.evaluation.report import print_evaluation
    from vocseg.inference.segmenter import Segmenter
    from vocseg.models.registry import require_trained
    from vocseg.utils.files import writable_folder, write_json

    require_trained(model, weights)
    dataset = SplitDataset(VocFolder.find(data, mask_dir), split)
    masks = [] if save_masks is None else [save_masks / f"{name}.png" for name in dataset.names]
    protect_data(data, [mask_dir], [*masks, json], [model, weights])
    segmenter = Segmenter(model, weights=weights, device=device, precision=precision, exact=exact, engine=engine)
    check_classes(segmenter.info.classes, dataset.classes, model, str(dataset.folder.root))
    if save_masks is not None:
        writable_folder(save_masks)
    result = run_evaluation(segmenter, dataset, save_masks=save_masks)
    print_evaluation(result, f"{model} in {segmenter.precision} on {split} of {dataset.folder.root}")
    if json is not None:
        head = {"model": model, "precision": segmenter.precision, "data": str(dataset.folder.root)}
        write_json(json, head | result.to_dict())
