"""Plots of a split's statistics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vocseg.doctor.stats import Statistics
from vocseg.utils.files import replacing
from vocseg.utils.fonts import families
from vocseg.utils.text import counted

ROW = 0.26
"""Inches that a class takes."""
BAR = "#4c72b0"


def write_plots(statistics: Statistics, out: Path) -> list[Path]:
    """Write classes.png, cooccurrence.png, regions.png and sizes.png to the folder ``out``; returns their paths."""
    height = 1.6 + ROW * len(statistics.summary.classes)
    plots = {
        "classes": (_classes, (9.0, height), 2),
        "cooccurrence": (_cooccurrence, (height + 2.4, height + 1.0), 1),
        "regions": (_regions, (8.0, height), 1),
        "sizes": (_sizes, (6.0, 5.0), 1),
    }
    paths = []
    names = "".join(statistics.summary.classes) + statistics.root.name
    for name, (plot, size, columns) in plots.items():
        with rc_context({"font.family": families(names)}):
            figure = Figure(figsize=size, layout="constrained")
            plot(statistics, list(figure.subplots(1, columns, squeeze=False)[0]))
            paths.append(out / f"{name}.png")
            with replacing(paths[-1]) as temporary:
                figure.savefig(temporary, format="png", dpi=110)
    return paths


def _title(statistics: Statistics) -> str:
    return f"{statistics.root.name} {statistics.summary.split}, {counted(statistics.summary.images, 'image')}"


def _classes(statistics: Statistics, axes: list[Axes]) -> None:
    """Images and pixels of each class; pixels on a logarithmic axis, since background dwarfs the rest."""
    summary = statistics.summary
    places = np.arange(len(summary.classes))
    for axis, counts, heading in ((axes[0], summary.images_per_class, "images"), (axes[1], summary.pixels, "share of pixels, %")):
        values = counts[: len(places)].double().numpy()
        axis.barh(places, values if axis is axes[0] else 100 * values / max(1, int(summary.pixels.sum())), color=BAR)
        axis.set_yticks(places, summary.classes if axis is axes[0] else [""] * len(places))
        axis.set_ylim(len(places) - 0.4, -0.6)
        axis.set_xlabel(heading)
        axis.grid(axis="x", alpha=0.3)
    axes[1].set_xscale("log")
    axes[0].set_title(_title(statistics), loc="left", fontsize="medium")


def _cooccurrence(statistics: Statistics, axes: list[Axes]) -> None:
    """Of the images that show the row's class, how many show the column's."""
    [axis] = axes
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
    axis.set_title(f"{_title(statistics)}\n% of the row's images that show the column's class", loc="left", fontsize="medium")
    axis.figure.colorbar(image, ax=axis, shrink=0.8)


def _regions(statistics: Statistics, axes: list[Axes]) -> None:
    """Sizes of connected regions, one box a class; the box holds the middle half, the whiskers 90 %."""
    [axis] = axes
    names = statistics.summary.classes
    places = [place for place, shares in enumerate(statistics.regions) if len(shares)]
    axis.boxplot(
        [100 * statistics.regions[place] for place in places],
        positions=places,
        orientation="horizontal",
        whis=(5, 95),
        showfliers=False,
        widths=0.6,
        patch_artist=True,
        boxprops={"facecolor": BAR, "alpha": 0.6},
        medianprops={"color": "black"},
    )
    axis.set_xscale("log")
    axis.set_yticks(range(len(names)), [f"{n} ({len(shares):,})" for n, shares in zip(names, statistics.regions, strict=True)])
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlabel("region, % of its image")
    axis.grid(axis="x", alpha=0.3)
    axis.set_title(f"{_title(statistics)}: sizes of regions", loc="left", fontsize="medium")


def _sizes(statistics: Statistics, axes: list[Axes]) -> None:
    """Heights and widths of images; the area of a dot is in proportion to their number."""
    [axis] = axes
    heights, widths = np.array(list(statistics.sizes)).T
    counts = np.array(list(statistics.sizes.values()))
    axis.scatter(widths, heights, s=12 + 600 * counts / counts.sum(), color=BAR, alpha=0.6)
    axis.set_xlabel("width, pixels")
    axis.set_ylabel("height, pixels")
    axis.set_xlim(0, 1.08 * widths.max())
    axis.set_ylim(0, 1.08 * heights.max())
    axis.grid(alpha=0.3)
    axis.set_title(f"{_title(statistics)}: {len(counts):,} sizes", loc="left", fontsize="medium")
