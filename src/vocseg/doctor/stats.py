"""What a split shows: classes, regions, which classes come together, sizes of images."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vocseg import voc
from vocseg.data.image_io import read_mask
from vocseg.data.split_summary import SplitSummary
from vocseg.doctor.examine import find_folder
from vocseg.doctor.survey import ALL, SplitList, survey
from vocseg.errors import DataError
from vocseg.utils.progress import progress

SPECK = 0.001
"""Share of an image below which a connected region is left out: whiskers, spokes, and what a void border cuts off."""


@dataclass(frozen=True)
class Statistics:
    """Numbers of a split.

    ``together`` (classes x classes, int64) counts images that show both; ``regions`` holds, by class, the size of each
    8-connected region but specks, as a share of its image, 0..1 (touching objects of a class are one region); ``sizes``
    counts images by (height, width).
    """

    root: Path
    mask_dir: str
    summary: SplitSummary
    together: NDArray[np.int64]
    regions: tuple[NDArray[np.float64], ...]
    sizes: Counter[tuple[int, int]]

    def to_dict(self) -> dict[str, Any]:
        """For JSON; sizes of regions are shares of an image, null where there is no region."""
        summary, classes = self.summary, self.summary.classes
        total = max(1, int(summary.pixels.sum()))
        per_class = {}
        for label, name in enumerate(classes):
            shares = self.regions[label]
            per_class[name] = {
                "images": int(summary.images_per_class[label]),
                "pixels": int(summary.pixels[label]),
                "pixel_share": int(summary.pixels[label]) / total,
                "regions": len(shares),
                "mean_region": float(shares.mean()) if len(shares) else None,
                "median_region": float(np.median(shares)) if len(shares) else None,
                "with": {other: int(self.together[label, place]) for place, other in enumerate(classes) if place != label},
            }
        return {
            "data": str(self.root),
            "split": summary.split,
            "mask_dir": self.mask_dir,
            "images": summary.images,
            "void_share": int(summary.pixels[voc.VOID]) / total,
            "per_class": per_class,
            "image_sizes": {f"{height}x{width}": count for (height, width), count in self.sizes.most_common()},
        }


def describe(data: str | Path, split: str | None = None, mask_dir: str | None = None) -> Statistics:
    """Read all masks of a split: the one named, or train, or what there is.

    Raises DataError where there is no such list or layout, or for the first mask that cannot be read as class ids.
    """
    folder = find_folder(data, mask_dir)
    found = survey(folder, mask_dir, None if split is None else [split])
    chosen = _choose([each for each in found.splits if each.ids], split)
    classes = folder.classes
    masks = found.masks[chosen.mask_dir]

    def read(name: str) -> tuple[NDArray[np.int64], tuple[int, int], list[tuple[int, float]]]:
        labels = read_mask(masks[name], len(classes)).numpy()
        counts = np.bincount(labels.ravel(), minlength=256)
        return counts, (labels.shape[0], labels.shape[1]), list(_regions(labels, counts, len(classes)))

    summary = SplitSummary(chosen.name, classes)
    together = np.zeros((len(classes), len(classes)), dtype=np.int64)
    regions: list[list[float]] = [[] for _ in classes]
    sizes: Counter[tuple[int, int]] = Counter()
    with ThreadPoolExecutor() as pool:
        for counts, size, its_regions in progress(pool.map(read, chosen.ids), len(chosen.ids), f"read {chosen.name}"):
            summary.add(torch.from_numpy(counts))
            shown = counts[: len(classes)] > 0
            together += np.outer(shown, shown)
            sizes[size] += 1
            for label, share in its_regions:
                regions[label].append(share)
    return Statistics(folder.root, chosen.mask_dir, summary, together, tuple(map(np.array, regions)), sizes)


def _choose(splits: list[SplitList], asked: str | None) -> SplitList:
    by_name = {split.name: split for split in splits}
    if not by_name:
        which = "no split" if asked is None else f"split '{asked}' names no id that"
        raise DataError(f"{which} has an image with a mask; `vocseg data doctor` tells why")
    return by_name.get("train") or by_name.get(ALL) or splits[0]


def _regions(labels: NDArray[np.uint8], counts: NDArray[np.int64], num_classes: int) -> list[tuple[int, float]]:
    """Label and share of the image of each 8-connected region of one class, but specks."""
    from scipy import ndimage

    found: list[tuple[int, float]] = []
    for label in np.flatnonzero(counts[:num_classes]).tolist():
        parts, _ = ndimage.label(labels == label, structure=np.ones((3, 3)))
        shares = np.bincount(parts.ravel())[1:] / labels.size
        found += [(label, share) for share in shares[shares >= SPECK].tolist()]
    return found
