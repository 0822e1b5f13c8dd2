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

    One mask per image of the split, named `<id>.png`: palette or grayscale PNG of the image's size, values are class
    ids. One confusion matrix over all images, without void pixels, as in the VOC devkit.

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
    from vocseg.cli.console import terminal
    from vocseg.evaluation.result import evaluation_report
    from vocseg.evaluation.score import score as run

    result = run(masks, data, split, mask_dir=mask_dir, json=json, title=f"score {split}")
    terminal().print(evaluation_report(result, f"{masks} on {split} of {result.about['data']}"), crop=False)
