"""``vocseg data stats``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vocseg.cli.options import JsonOption
from vocseg.data.layout import protect_data
from vocseg.utils.text import counted

if TYPE_CHECKING:
    from vocseg.doctor.stats import Statistics


def stats(
    data: str,
    /,
    *,
    split: str | None = None,
    mask_dir: str | None = None,
    json: JsonOption = None,
    out: Path | None = None,
) -> None:
    """Print statistics of a split.

    Images, pixels and connected regions per class, classes that occur together, and image sizes. Touching objects of
    one class count as one region; regions smaller than a thousandth of the image are ignored.

    ```
    vocseg data stats data
    vocseg data stats data --split val --json stats.json --out plots
    ```

    Parameters
    ----------
    data
        Folder that holds VOCdevkit, VOCdevkit itself, or a folder in VOC layout.
    split
        Split list in ImageSets/Segmentation. Default: train, or the first there is.
    mask_dir
        Folder of the masks. Default: SegmentationClass, or another SegmentationClass* that has them.
    out
        Write plots of classes, co-occurrence, regions and image sizes to this folder.
    """
    plots = None if out is None else out / "classes.png"
    protect_data(data, [mask_dir], [json, plots])  # fail before torch is imported
    from vocseg.doctor.stats import describe
    from vocseg.utils.files import writable_folder, write_json

    if out is not None:
        writable_folder(out)
    statistics = describe(data, split, mask_dir)
    _print(statistics)
    if json is not None:
        write_json(json, statistics.to_dict())
    if out is not None:
        from vocseg.doctor.plots import write_plots

        print(f"plots: {', '.join(str(path) for path in write_plots(statistics, out))}")


def _print(statistics: Statistics) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    values = statistics.to_dict()
    console = Console()
    companions = 2 if console.width >= 90 else 1
    table = Table(header_style="bold", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("class", no_wrap=True)
    for heading in ("images", "pixels", "regions", "mean region"):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    table.add_column("often with", no_wrap=True)
    for name, row in values["per_class"].items():
        others = sorted(row["with"].items(), key=lambda item: -item[1])
        others = [(other, number) for other, number in others if number and other != "background"][:companions]
        table.add_row(
            name,
            f"{row['images']:,}",
            f"{row['pixel_share']:.2%}",
            f"{row['regions']:,}",
            "-" if row["mean_region"] is None else f"{row['mean_region']:.2%}",
            "" if name == "background" else ", ".join(f"{other} {number / row['images']:.0%}" for other, number in others),
        )
    console.print(
        f"{statistics.root} {values['split']}: {counted(values['images'], 'image')}, masks of {values['mask_dir']}, "
        f"{values['void_share']:.2%} void",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    console.print(table)
    sizes = [f"{size} ({number:,})" for size, number in list(values["image_sizes"].items())[:5]]
    more = f" and {len(values['image_sizes']) - 5:,} more" if len(values["image_sizes"]) > 5 else ""
    console.print(f"sizes HxW: {', '.join(sizes)}{more}", highlight=False, soft_wrap=True)
