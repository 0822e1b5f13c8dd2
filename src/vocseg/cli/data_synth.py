"""``vocseg data synth``."""

from __future__ import annotations

from pathlib import Path

from vocseg.cli.options import Json, Size


def synth(
    folder: Path,
    /,
    *,
    train: int = 200,
    val: int = 50,
    size: Size = (128, 160),
    seed: int = 0,
    json: Json = None,
) -> None:
    """Write a small synthetic data set in VOC layout.

    Textured shapes on a textured background, with void borders and split lists.

    ```
    vocseg data synth demo/data
    vocseg data synth tiny --train 8 --val 4 --size 64x64 --seed 7
    ```

    Args:
        folder: Output folder; must be new or empty.
        train: Images in the train split.
        val: Images in the val split.
        size: Typical image size, HxW; sizes vary around it.
        seed: Seed of the images.
    """
    from vocseg.cli.console import say
    from vocseg.data.synthetic import write_synthetic
    from vocseg.utils.files import refuse_to_replace, write_json

    refuse_to_replace([json])
    counts = write_synthetic(folder, train=train, val=val, size=size, seed=seed)
    say(f"{train} train and {val} val images in {folder}")
    if json is not None:
        write_json(json, {"train": train, "val": val, "images_per_class": counts})
