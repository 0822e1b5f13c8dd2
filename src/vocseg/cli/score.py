"""``vocseg score``."""

from __future__ import annotations

from pathlib import Path

from vocseg.cli.options import DataOption, JsonOption, MaskDirOption, SplitOption
from vocseg.data.layout import data_folder
from vocseg.voc import MASKS


def score(
    masks: Path,
    /,
    *,
    data: DataOption = "data",
    split: SplitOption = "val",
    mask_dir: MaskDirOption = MASKS,
    json: JsonOption = None,
) -> None:
    """Score a folder of mask PNGs from any tool.

    One mask per image of the split, named `<id>.png`: palette or grayscale PNG of the image's size, values are class ids.
    One confusion matrix over all images, without void pixels, as in the VOC devkit.

    ```
    vocseg score masks --data data --split val
    vocseg score masks --data data --json scores.json
    ```

    Parameters
    ----------
    masks
        Folder of the predicted masks.
    """
    data_folder(data)  # fail before torch is imported
    from vocseg.data.layout import VocFolder, protect_data
    from vocseg.evaluation.report import print_evaluation
    from vocseg.evaluation.score import score_folder
    from vocseg.utils.files import write_json

    folder = VocFolder.find(data, mask_dir)
    protect_data(data, [mask_dir], [json], masks.glob("*"))
    result = score_folder(masks, folder, split)
    print_evaluation(result, f"{masks} on {split} of {folder.root}")
    if json is not None:
        write_json(json, {"masks": str(masks), "data": str(folder.root)} | result.to_dict())
