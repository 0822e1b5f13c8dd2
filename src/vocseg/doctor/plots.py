"""Plots of a split's statistics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vocseg.doctor.stats import Statistics
from vocseg.draw import font_families
from vocseg.utils.files import replacing
from vocseg.utils.text import counted

CLASS_HEIGHT = 0.26
"""Inches per class."""
COLOR = "#4c72b0"


def write_plots(statistics: Statistics, out: Path) -> list[Path]:
    """Write classes.png, cooccurrence.png, regions.png and sizes.png to the folder ``out``; return their paths."""
    height = 1.6 + CLASS_HEIGHT * len(statistics.summary.classes)
    plots: dict[str, tuple[Callable[..., None], tuple[float, float], int]] = {
        "classes": (_classes, (9.0, height), 2),
        "cooccurrence": (_cooccurrence, (height + 2.4, height + 1.0), 1),
        "regions": (_regions, (8.0, height), 1),
        "sizes": (_sizes, (6.0, 5.0), 1),
    }
    paths = []
    names = "".join(statistics.summary.classes) + statistics.root.name
    for name, (plot, size, columns) in plots.items():
        with rc_context({"font.family": font_families(names), "axes.titlelocation": "left", "axes.titlesize": "medium"}):
            figure = Figure(figsize=size, layout="constrained")
            plot(statistics, *figure.subplots(1, columns, squeeze=False)[0])
            paths.append(out / f"{name}.png")
            with replacing(paths[-1]) as temporary:
                figure.savefig(temporary, format="png", dpi=110)
    return paths


def _title(statistics: Statistics) -> str:
    return f"{statistics.root.name} {statistics.summary.split}, {counted(statistics.summary.images, 'image')}"


def _list_classes(axis: Axes, names: list[str]) -> None:
    """Give each class a row, the first on top, with a grid of values."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(axis="x", alpha=0.3)


def _classes(statistics: Statistics, images: Axes, pixels: Axes) -> None:
    """Plot images and pixels of each class, pixels on a logarithmic axis since the background dwarfs the rest."""
    summary = statistics.summary
    number = len(summary.classes)
    images.barh(range(number), summary.images_per_class[:number].numpy(), color=COLOR)
    pixels.barh(range(number), 100 * summary.pixels[:number].numpy() / max(1, int(summary.pixels.sum())), color=COLOR)
    _list_classes(images, list(summary.classes))
    _list_classes(pixels, [""] * number)
    images.set_xlabel("images")
    pixels.set_xlabel("share of pixels, %")
    pixels.set_xscale("log")
    images.set_title(_title(statistics))


def _cooccurrence(statistics: Statistics, axis: Axes) -> None:
    """Plot how many of the images with the row's class also show the column's."""
    names = statistics.summary.classes
    shown = statistics.together.diagonal()
    share = 100 * statistics.together / np.maximum(1, shown)[:, None]
    image = axis.imshow(share, cmap="viridis", vmin=0, vmax=100)
    if len(names) <= 30:
        for (row, column), value in np.ndenumerate(share):
            if value >= 0.5:
                color = "black" if value > 60 else "white"
                axis.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color=color)
    axis.set_xticks(range(len(names)), names, rotation=90)
    axis.set_yticks(range(len(names)), [f"{name} ({count:,})" for name, count in zip(names, shown, strict=True)])
    axis.set_title(f"{_title(statistics)}\n% of the row's images that show the column's class")
    axis.figure.colorbar(image, ax=axis, shrink=0.8)


def _regions(statistics: Statistics, axis: Axes) -> None:
    """Plot sizes of connected regions, one box per class; the box holds the middle half, the whiskers 90%."""
    places = [place for place, shares in enumerate(statistics.regions) if len(shares)]
    axis.boxplot(
        [100 * statistics.regions[place] for place in places],
        positions=places,
        orientation="horizontal",
        whis=(5, 95),
        showfliers=False,
        widths=0.6,
        patch_artist=True,
        boxprops={"facecolor": COLOR, "alpha": 0.6},
        medianprops={"color": "black"},
    )
    numbers = [len(shares) for shares in statistics.regions]
    _list_classes(axis, [f"{name} ({number:,})" for name, number in zip(statistics.summary.classes, numbers, strict=True)])
    axis.set_xscale("log")
    axis.set_xlabel("region, % of its image")
    axis.set_title(f"{_title(statistics)}: sizes of regions")


def _sizes(statistics: Statistics, axis: Axes) -> None:
    """Plot heights and widths of images; a dot's area is proportional to their number."""
    heights, widths = np.array(list(statistics.sizes)).T
    counts = np.array(list(statistics.sizes.values()))
    axis.scatter(widths, heights, s=12 + 600 * counts / counts.sum(), color=COLOR, alpha=0.6)
    axis.set(xlabel="width, pixels", ylabel="height, pixels", xlim=(0, 1.08 * widths.max()), ylim=(0, 1.08 * heights.max()))
    axis.grid(alpha=0.3)
    axis.set_title(f"{_title(statistics)}: {counted(len(counts), 'size')}")
