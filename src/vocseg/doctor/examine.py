"""The whole examination of a data set: every listed image and mask is read once, in parallel."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vocseg import voc
from vocseg.data.layout import VocFolder
from vocseg.data.split_summary import SplitSummary
from vocseg.doctor import leaks
from vocseg.doctor.checks import ImageFacts, MaskFacts, inspect_image, inspect_mask, problems
from vocseg.doctor.issues import Case, Finding, collect
from vocseg.doctor.palette import LABELMAP, Legend, find_legend
from vocseg.doctor.survey import SplitList, Survey, survey
from vocseg.errors import DataError
from vocseg.utils.progress import progress
from vocseg.utils.text import counted


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found.

    ``pairs`` are images with one mask; ``masks`` are facts by (mask folder, id), ``images`` by id.
    """

    survey: Survey
    legend: Legend
    summaries: dict[str, SplitSummary]
    findings: tuple[Finding, ...]
    images: dict[str, ImageFacts]
    masks: dict[tuple[str, str], MaskFacts]
    seconds: float

    @property
    def pairs(self) -> int:
        """Image-mask pairs that were read."""
        return len(self.masks)

    def count(self, severity: str) -> int:
        """Findings (kinds, not cases) of a severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def exit_code(self, strict: bool = False) -> int:
        """2 with errors, 1 with warnings where ``strict``, else 0."""
        return 2 if self.count("error") else int(strict and self.count("warning") > 0)

    def mask_kinds(self, split: SplitList) -> dict[str, int]:
        """Masks of a split by kind: palette, gray, color, deep, unreadable."""
        return dict(Counter(self.masks[split.mask_dir, name].kind for name in split.ids).most_common())

    def to_dict(self) -> dict[str, Any]:
        """For JSON; ``class_weights`` are null for splits without images."""
        return {
            "data": str(self.survey.root),
            "classes": list(self.legend.classes),
            "pairs": self.pairs,
            "seconds": round(self.seconds, 3),
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "notes": self.count("note"),
            "findings": [finding.to_dict() for finding in self.findings],
            "splits": {split.name: self._split_dict(split) for split in self.survey.splits},
        }

    def _split_dict(self, split: SplitList) -> dict[str, Any]:
        summary = self.summaries[split.name]
        weights = summary.class_weights().tolist()
        return {
            "mask_dir": split.mask_dir,
            "images": summary.images,
            "mask_kinds": self.mask_kinds(split),
            "void_pixels": int(summary.pixels[voc.VOID]),
            "per_class": {
                name: {
                    "images": int(summary.images_per_class[label]),
                    "pixels": int(summary.pixels[label]),
                    "class_weight": round(weights[label], 6),
                }
                for label, name in enumerate(self.legend.classes)
            },
        }


def examine(data: str | Path, mask_dir: str | None = None, splits: list[str] | None = None) -> Diagnosis:
    """Examine the splits (all, or those named) of the VOC-layout folder below ``data``.

    Raises DataError where there is no such layout, no list of that name, or classes.txt or labelmap.txt is malformed; all
    else that is wrong becomes findings.
    """
    start = time.perf_counter()
    folder = find_folder(data, mask_dir)
    legend = find_legend(folder.root, folder.classes)
    found = survey(folder, mask_dir, splits)
    images, masks = _read(found, legend)
    summaries = {split.name: _summary(split, legend, masks) for split in found.splits}
    cases = [*_legend_cases(legend), *found.cases, *_pair_cases(found, legend, images, masks), *leaks.shared_ids(found.splits)]
    prints = {name: facts.print for name, facts in images.items() if facts.print is not None}
    cases += leaks.alike(found.splits, prints, found.images)
    cases += _absent(summaries)
    return Diagnosis(found, legend, summaries, tuple(collect(cases)), images, masks, time.perf_counter() - start)


def find_folder(data: str | Path, mask_dir: str | None) -> VocFolder:
    """The VOC-layout folder below ``data``; DataError, telling which folders hold images where there is no such layout."""
    try:
        return VocFolder.find(data, mask_dir or voc.MASKS)
    except DataError as error:
        top = Path(data).expanduser()
        if not top.is_dir() or ((top / voc.IMAGES).is_dir() and (top / (mask_dir or voc.MASKS)).is_dir()):
            raise
        raise DataError(f"{error}{_what_is_there(top)}") from error


def _what_is_there(top: Path, limit: int = 6) -> str:
    """A hint that names the folders below ``top`` that hold images."""
    found: list[str] = []
    for folder, _, files in os.walk(top):
        counts = Counter(os.path.splitext(file)[1].lower() for file in files)
        images = [f"{counts[suffix]} {suffix}" for suffix in (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff") if counts[suffix]]
        if images:
            found.append(f"{os.path.relpath(folder, top)} ({', '.join(images)})")
    if not found:
        return "; it holds no images"
    shown = sorted(found)[:limit]
    more = f" and {len(found) - limit} more" if len(found) > limit else ""
    return f"; images are in {', '.join(shown)}{more}; `vocseg data convert` brings other layouts to this one"


def _read(found: Survey, legend: Legend) -> tuple[dict[str, ImageFacts], dict[tuple[str, str], MaskFacts]]:
    """All facts: each image and each mask is read once, however many splits name it."""
    folders: dict[str, list[str]] = {}
    for split in found.splits:
        for name in split.ids:
            wanted = folders.setdefault(name, [])
            if split.mask_dir not in wanted:
                wanted.append(split.mask_dir)

    def read(name: str) -> tuple[str, ImageFacts, list[MaskFacts]]:
        masks = [inspect_mask(found.masks[folder][name], legend.colors, legend.own) for folder in folders[name]]
        return name, inspect_image(found.images[name]), masks

    images: dict[str, ImageFacts] = {}
    masks: dict[tuple[str, str], MaskFacts] = {}
    with ThreadPoolExecutor() as pool:
        for name, image, its_masks in progress(pool.map(read, folders), len(folders), "read"):
            images[name] = image
            masks.update({(folder, name): facts for folder, facts in zip(folders[name], its_masks, strict=True)})
    return images, masks


def _summary(split: SplitList, legend: Legend, masks: dict[tuple[str, str], MaskFacts]) -> SplitSummary:
    summary = SplitSummary(split.name, legend.classes)
    for name in split.ids:
        summary.add(torch.from_numpy(masks[split.mask_dir, name].counts))
    return summary


def _pair_cases(
    found: Survey, legend: Legend, images: dict[str, ImageFacts], masks: dict[tuple[str, str], MaskFacts]
) -> Iterator[tuple[str, Case]]:
    binary = is_binary(masks.values())
    for (folder, name), mask in masks.items():
        for problem in problems(images[name], mask, len(legend.classes)):
            if problem.kind in ("all-background", "void-objects") and (binary or legend.classes[0] not in voc.BACKGROUND_NAMES):
                continue
            path = found.images[name] if "image" in problem.kind else mask.path
            yield problem.kind, Case(str(path.relative_to(found.root)), problem.detail, (found.images[name],), mask.path)
        if binary and mask.counts[voc.VOID]:
            yield "binary-mask", Case(f"{folder}/{mask.path.name}", "", (found.images[name],), mask.path)


def is_binary(masks: Any) -> bool:
    """Whether masks without palette show nothing but 0 and 255, all together, and both of them."""
    grays = [mask for mask in masks if not mask.error]
    if not grays or any(mask.kind == "palette" or mask.foreign for mask in grays):
        return False
    shown = sum(mask.counts for mask in grays) > 0
    return bool(shown[0] and shown[voc.VOID] and not shown[1 : voc.VOID].any())


def _legend_cases(legend: Legend) -> Iterator[tuple[str, Case]]:
    if legend.renamed:
        yield "class-names", Case(LABELMAP, f"{counted(len(legend.classes), 'class')}: {', '.join(legend.classes[:5])}, ...")


def _absent(summaries: dict[str, SplitSummary]) -> Iterator[tuple[str, Case]]:
    for name, summary in summaries.items():
        if summary.images and summary.absent:
            yield "absent-class", Case(name, ", ".join(summary.absent))
