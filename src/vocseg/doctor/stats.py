"""Statistics of a split: classes, connected regions, which classes occur together, sizes of images."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vocseg import voc
from vocseg.data.image_io import check_palettes, read_mask
from vocseg.data.label_checks import check_labels_of_split
from vocseg.data.layout import VocFolder, protect_data
from vocseg.data.split_summary import SplitSummary
from vocseg.doctor.survey import survey
from vocseg.errors import DataError
from vocseg.utils.files import writable_folder, write_json
from vocseg.utils.progress import progress
from vocseg.utils.text import portable

MIN_REGION = 0.001
"""Share of an image below which a region is not counted: whiskers, spokes, and what a void border cuts off."""


@dataclass(frozen=True)
class Statistics:
    """Numbers of a split.

    ``regions`` holds, by class, the size of each 8-connected region as a share of its image, 0 to 1; touching objects
    of a class are one region. ``sizes`` counts images by (height, width).
    """

    root: Path
    mask_dir: str
    summary: SplitSummary
    regions: tuple[NDArray[np.float64], ...]
    sizes: Counter[tuple[int, int]]

    @property
    def together(self) -> NDArray[np.int64]:
        """Images that show both classes (classes x classes)."""
        shown = torch.stack(self.summary.labels)[:, : len(self.summary.classes)].long()
        return (shown.T @ shown).numpy()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; sizes of regions are shares of an image, null if there is no region."""
        summary, classes, together = self.summary, self.summary.classes, self.together.tolist()
        total = max(1, int(summary.pixels.sum()))
        per_class = {}
        for label, (name, shares) in enumerate(zip(classes, self.regions, strict=True)):
            per_class[name] = {
                "images": int(summary.images_per_class[label]),
                "pixels": int(summary.pixels[label]),
                "pixel_share": int(summary.pixels[label]) / total,
                "regions": len(shares),
                "mean_region": float(shares.mean()) if len(shares) else None,
                "median_region": float(np.median(shares)) if len(shares) else None,
                "with": {other: together[label][place] for place, other in enumerate(classes) if place != label},
            }
        return {
            "data": portable(self.root),
            "split": summary.split,
            "mask_dir": self.mask_dir,
            "images": summary.images,
            "void_share": int(summary.pixels[voc.VOID]) / total,
            "per_class": per_class,
            "image_sizes": {f"{height}x{width}": count for (height, width), count in self.sizes.most_common()},
        }

    def save(self, path: str | Path) -> None:
        """Write the numbers as JSON; raises OutputError if that fails or would replace a file of the data set."""
        protect_data(self.root, [self.mask_dir], [Path(path)])
        write_json(Path(path), self.to_dict())

    def plot(self, out: str | Path) -> list[Path]:
        """Write plots of classes, co-occurrence, regions and image sizes to the folder ``out``; return their paths."""
        from vocseg.doctor.plots import write_plots

        protect_data(self.root, [self.mask_dir], [Path(out) / "classes.png"])
        return write_plots(self, writable_folder(Path(out)))


def statistics(data: str | Path, split: str | None = None, *, mask_dir: str | None = None) -> Statistics:
    """Read all masks of a split (by default train, or what there is) and count classes, regions and sizes.

    Raises DataError if there is no such list or layout, for an id without a mask or listed twice, for the first mask that
    cannot be read as class ids, for palettes that contradict each other, and for a split of one class.

    >>> from vocseg.data.samples import FOLDER
    >>> found = statistics(FOLDER)
    >>> found.summary.images, found.sizes.most_common(1)
    (4, [((512, 512), 2)])
    """
    found = survey(data, mask_dir, None if split is None else [split])
    chosen = found.choose()
    if chosen is None:
        which = "no split" if split is None else f"split '{split}' names no id that"
        raise DataError(f"{which} has an image with a mask; `vocseg data doctor` lists the reasons")
    folder, number = VocFolder.find(data, chosen.mask_dir), len(found.classes)
    names = folder.ids(chosen.name) if folder.splits else chosen.ids
    masks = {name: folder.mask(name) for name in names}
    summary = SplitSummary(chosen.name, found.classes)
    regions: list[list[float]] = [[] for _ in found.classes]
    sizes: Counter[tuple[int, int]] = Counter()

    def read(name: str) -> tuple[tuple[int, int], Tensor, dict[int, list[float]]]:
        mask = read_mask(masks[name], number)
        counts = torch.bincount(mask.flatten(), minlength=256)
        shown = counts[:number].nonzero()[:, 0].tolist()
        return (mask.shape[0], mask.shape[1]), counts, {label: _regions((mask == label).numpy()) for label in shown}

    with ThreadPoolExecutor() as pool:
        for size, counts, shares in progress(pool.map(read, names), len(names), f"read {chosen.name}"):
            summary.add(counts)
            sizes[size] += 1
            for label in shares:
                regions[label] += shares[label]
    check_palettes(masks.values())
    check_labels_of_split(summary.pixels, found.classes, chosen.name)
    return Statistics(found.root, chosen.mask_dir, summary, tuple(map(np.array, regions)), sizes)


def _regions(inside: NDArray[np.bool_]) -> list[float]:
    """Return the share of the image of each 8-connected region that is large enough."""
    from scipy import ndimage

    parts, _ = ndimage.label(inside, structure=np.ones((3, 3)))
    shares = np.bincount(parts.ravel())[1:] / inside.size
    return shares[shares >= MIN_REGION].tolist()
