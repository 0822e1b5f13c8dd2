"""Plots of a split's statistics."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vocseg.doctor.stats import Statistics
from vocseg.draw import font_families
from vocseg.utils.files import MARK, refuse_to_replace, replacing
from vocseg.utils.text import counted

CLASS_HEIGHT = 0.26
"""Inches per class."""
COLOR = "#4c72b0"


def write_plots(statistics: Statistics, out: Path) -> list[Path]:
    """Write classes.png, cooccurrence.png, regions.png and sizes.png to the folder ``out``; return their paths."""
    summary = statistics.summary
    height = 1.6 + CLASS_HEIGHT * len(summary.classes)
    plots = (
        ("classes", _classes, (9.0, height), 2),
        ("cooccurrence", _cooccurrence, (height + 2.4, height + 1.0), 1),
        ("regions", _regions, (8.0, height), 1),
        ("sizes", _sizes, (6.0, 5.0), 1),
    )
    title = f"{statistics.root.name} {summary.split}, {counted(summary.images, 'image')}"
    refuse_to_replace([out / f"{name}.png" for name, *_ in plots])
    fonts = font_families("".join(summary.classes) + title)
    for name, plot, size, columns in plots:
        with rc_context({"font.family": fonts}), replacing(out / f"{name}.png") as temporary:
            figure = Figure(figsize=size, layout="constrained")
            axes = figure.subplots(1, columns, squeeze=False)[0]
            axes[0].set_title(title + plot(statistics, *axes), loc="left", fontsize="medium")
            content = io.BytesIO()
            figure.savefig(content, format="png", dpi=110, metadata={"Software": MARK.decode()})
            temporary.write_bytes(content.getvalue())
    return [out / f"{name}.png" for name, *_ in plots]


def _list_classes(axis: Axes, names: Sequence[str]) -> None:
    """Give each class a row, the first on top, with a grid of values."""
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(axis="x", alpha=0.3)


# Each plot returns what the title says besides data set and split.


def _classes(statistics: Statistics, images: Axes, pixels: Axes) -> str:
    """Plot images and pixels of each class, pixels on a logarithmic axis since the background dwarfs the rest."""
    summary, number = statistics.summary, len(statistics.summary.classes)
    images.barh(range(number), summary.images_per_class[:number].numpy(), color=COLOR)
    pixels.barh(range(number), 100 * summary.pixels[:number].numpy() / max(1, int(summary.pixels.sum())), color=COLOR)
    _list_classes(images, summary.classes)
    _list_classes(pixels, [""] * number)
    images.set_xlabel("images")
    pixels.set(xlabel="share of pixels, %", xscale="log")
    return ""


def _cooccurrence(statistics: Statistics, axis: Axes) -> str:
    """Plot how many of the images with the row's class also show the column's."""
    names, together = statistics.summary.classes, statistics.together
    shown = together.diagonal()
    share = 100 * together / np.maximum(1, shown)[:, None]
    image = axis.imshow(share, cmap="viridis", vmin=0, vmax=100)
    for row, column in np.argwhere(share >= 0.5) if len(names) <= 30 else ():
        value = share[row, column]
        color = "black" if value > 60 else "white"
        axis.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=7, color=color)
    axis.set_xticks(range(len(names)), names, rotation=90)
    axis.set_yticks(range(len(names)), [f"{name} ({count:,})" for name, count in zip(names, shown, strict=True)])
    axis.figure.colorbar(image, ax=axis, shrink=0.8)
    return "\n% of the row's images that show the column's class"


def _regions(statistics: Statistics, axis: Axes) -> str:
    """Plot sizes of connected regions, one box per class; the box holds the middle half, the whiskers 90%."""
    regions = dict(zip(statistics.summary.classes, statistics.regions, strict=True))
    places = [place for place, shares in enumerate(regions.values()) if len(shares)]
    axis.boxplot(
        [100 * shares for shares in regions.values() if len(shares)],
        positions=places, orientation="horizontal", whis=(5, 95), showfliers=False, widths=0.6, patch_artist=True,
        boxprops={"facecolor": COLOR, "alpha": 0.6}, medianprops={"color": "black"},
    )  # fmt: skip
    _list_classes(axis, [f"{name} ({len(shares):,})" for name, shares in regions.items()])
    axis.set(xlabel="region, % of its image", xscale="log")
    return ": sizes of regions"


def _sizes(statistics: Statistics, axis: Axes) -> str:
    """Plot heights and widths of images; a dot's area is proportional to their number."""
    heights, widths = np.array(list(statistics.sizes)).T
    counts = np.array(list(statistics.sizes.values()))
    axis.scatter(widths, heights, s=12 + 600 * counts / counts.sum(), color=COLOR, alpha=0.6)
    axis.set(xlabel="width, pixels", ylabel="height, pixels", xlim=(0, 1.08 * widths.max()), ylim=(0, 1.08 * heights.max()))
    axis.grid(alpha=0.3)
    return f": {counted(len(counts), 'size')}"
