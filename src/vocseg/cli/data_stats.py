"""``vocseg data stats``."""

from __future__ import annotations

from pathlib import Path

from vocseg.cli.options import AnyMasks, DataFolder, Json
from vocseg.data.layout import protect_data


def stats(
    data: DataFolder, /, *, split: str | None = None, mask_dir: AnyMasks = None, json: Json = None, out: Path | None = None
) -> None:
    """Print statistics of a split.

    Images, pixels and connected regions per class, classes that occur together, and image sizes. Touching objects of
    one class count as one region; regions smaller than a thousandth of the image are ignored.

    ```
    vocseg data stats data --split val --json stats.json --out plots
    ```

    Args:
        split: Split list in ImageSets/Segmentation. Default: train, or the first there is.
        out: Write plots of classes, co-occurrence, regions and image sizes to this folder.
    """
    # The plots share a folder: what may replace one of them may replace all.
    protect_data(data, [mask_dir], [json, out and out / "classes.png"])  # fail before torch is imported
    from vocseg.cli.console import say, terminal
    from vocseg.doctor.report import statistics_report
    from vocseg.doctor.stats import statistics
    from vocseg.utils.files import writable_folder

    if out is not None:
        writable_folder(out)
    found = statistics(data, split, mask_dir=mask_dir)
    console = terminal()
    console.print(statistics_report(found, console.width), crop=False)
    if json is not None:
        found.save(json)
    if out is not None:
        say(f"plots: {', '.join(map(str, found.plot(out)))}")
