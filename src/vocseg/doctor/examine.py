"""Examine a data set: read every listed image and mask once, in parallel, and collect what is wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vocseg import voc
from vocseg.data.label_checks import palette_conflict, split_fault
from vocseg.data.layout import protect_data
from vocseg.data.pack import check_shard
from vocseg.data.packed import ShardFile
from vocseg.data.split_summary import SplitSummary
from vocseg.doctor import facts, leaks
from vocseg.doctor.checks import ImageFacts, MaskFacts, inspect_image, inspect_mask, problems
from vocseg.doctor.issues import SEVERITIES, Case, Finding, collect
from vocseg.doctor.survey import LABELMAP, Legend, MaskKey, SplitList, Survey, find_legend, survey
from vocseg.errors import DataError, shown
from vocseg.utils.arguments import checked
from vocseg.utils.files import writable_folder, write_json
from vocseg.utils.progress import progress
from vocseg.utils.shards import Shard
from vocseg.utils.text import counted, portable

if TYPE_CHECKING:
    from vocseg.doctor.repair import Repairs

DOCTOR = "doctor"
"""Stem of the files in a folder of results."""


@dataclass(frozen=True)
class Diagnosis:
    """What :func:`examine` found: ``findings``, and in ``summaries`` the labels of each split.

    >>> from vocseg.data.samples import FOLDER
    >>> diagnosis = examine(FOLDER)
    >>> [f"{finding.severity}: {finding.text}" for finding in diagnosis.findings][1:]
    ['note: a mask is background everywhere']
    """

    survey: Survey
    legend: Legend
    summaries: dict[str, SplitSummary]
    findings: tuple[Finding, ...]
    images: dict[str, ImageFacts]
    masks: dict[MaskKey, MaskFacts]
    seconds: float

    def __repr__(self) -> str:
        counts = ", ".join(counted(self.count(kind), kind) for kind in ("error", "warning", "note"))
        return f"Diagnosis({shown(self.survey.root)}: {counts} in {counted(self.pairs, 'image-mask pair')})"

    @property
    def pairs(self) -> int:
        """Image-mask pairs that were read."""
        return len(self.masks)

    def count(self, severity: str) -> int:
        """Count the findings (kinds, not cases) of a severity: error, warning or note."""
        return sum(finding.severity == severity for finding in self.findings)

    def exit_code(self, strict: bool = False) -> int:
        """Return 2 if there are errors, 1 if there are warnings and ``strict`` is set, else 0."""
        return 2 if self.count("error") else int(strict and self.count("warning") > 0)

    def repair(self, out: str | Path, void: Iterable[int] = ()) -> Repairs:
        """Write a repaired copy to the new folder ``out``; see :func:`vocseg.doctor.repair.repair`."""
        from vocseg.doctor.repair import repair

        return repair(self, Path(out), void)

    def save(self, path: str | Path) -> None:
        """Write everything as JSON to a file ``.json``; or to a folder, as ``doctor.json``, with a page, ``doctor.html``.

        Raises OutputError if that fails or would replace a file of the data set.
        """
        path = Path(path)
        if path.suffix != ".json":
            self.save(writable_folder(path) / f"{DOCTOR}.json")
            self.save_page(path / f"{DOCTOR}.html")
            return
        protect_data(self.survey.root, self.survey.masks, [path])
        write_json(path, self.to_dict())

    def save_page(self, path: str | Path) -> None:
        """Write one HTML file with example images; raises OutputError as :meth:`save` does."""
        from vocseg.doctor.report import write_page

        protect_data(self.survey.root, self.survey.masks, [Path(path)])
        write_page(self, Path(path))

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers and cases as JSON values."""
        return {
            "data": portable(self.survey.root),
            "classes": list(self.legend.classes),
            "pairs": self.pairs,
            "seconds": round(self.seconds, 3),
            **{f"{severity}s": self.count(severity) for severity in SEVERITIES},
            "findings": [finding.to_dict() for finding in self.findings],
            "splits": {split.name: self._split_dict(split) for split in self.survey.splits},
        }

    def _split_dict(self, split: SplitList) -> dict[str, Any]:
        summary = self.summaries[split.name]
        columns = (summary.images_per_class.tolist(), summary.pixels.tolist(), summary.class_weights().tolist())
        rows = zip(self.legend.classes, *columns, strict=False)
        return {
            "mask_dir": split.mask_dir,
            "images": summary.images,
            "mask_kinds": dict(Counter(self.masks[split.mask_dir, name].kind for name in split.ids).most_common()),
            "void_pixels": int(summary.pixels[voc.VOID]),
            "per_class": {
                name: {"images": images, "pixels": pixels, "class_weight": round(weight, 6)}
                for name, images, pixels, weight in rows
            },
        }


@checked
def examine(
    data: str | Path, *, mask_dir: str | None = None, splits: list[str] | None = None, html: str | Path | None = None,
    out: str | Path | None = None, shard: str | None = None,
) -> Diagnosis:  # fmt: skip
    """Examine a data set in VOC layout: files, lists, images, masks, labels, and leaks between splits.

    ``mask_dir`` is the folder of the masks; by default SegmentationClass, or the SegmentationClass* that has most masks
    of a split. ``splits`` limits the examination to these lists; ``html`` is a page to write, ``out`` a folder for
    ``doctor.json`` and ``doctor.html``. ``shard``: read only share ``I/N`` of the images, I from 1 to N, each by its id. What
    was read goes to the folder ``shard-I-of-N`` in ``out``, and :func:`vocseg.merge` makes one diagnosis of all; that of a
    shard has only what is wrong with its own images. Raises DataError if there is no VOC layout, no list of that name, or
    if classes.txt or labelmap.txt is malformed; everything else becomes a finding.

    >>> from vocseg.data.samples import FOLDER
    >>> diagnosis = examine(FOLDER)
    >>> diagnosis.pairs, [finding.kind for finding in diagnosis.findings]
    (4, ['absent-class', 'all-background'])
    """
    start = time.perf_counter()
    part = None if shard is None else Shard.parse(shard)
    found = survey(data, mask_dir, splits)
    legend = find_legend(found.root, found.classes)
    if part is not None:
        whole, found = found, found.only(lambda name: part.holds(name))
        asked = {"mask_dir": mask_dir, "asked splits": splits}
        read = facts.of_shard(whole, found, legend, part, out, asked, lambda: _read_all(found, legend))
        diagnosis = diagnose(found, legend, read, start)
    else:
        diagnosis = diagnose(found, legend, _read_all(found, legend), start)
        if out is not None:
            diagnosis.save(out)
    if html is not None:
        diagnosis.save_page(html)
    return diagnosis


def diagnose(found: Survey, legend: Legend, read: facts.Facts, start: float) -> Diagnosis:
    """Collect what is wrong with a data set of which everything has been read, since ``start`` by the performance counter."""
    images, masks, damaged = read
    summaries = {split.name: SplitSummary(split.name, legend.classes) for split in found.splits}
    for split in found.splits:
        for name in split.ids:
            summaries[split.name].add(torch.from_numpy(masks[split.mask_dir, name].counts))
    shards = [Case("damaged-shard", file) for file in damaged]
    parts: list[Iterable[Case]] = [found.cases, shards, _pair_cases(found, legend, images, masks)]
    if not found.is_part:
        parts.insert(1, _class_cases(legend, summaries, is_binary(masks.values())))
        parts += [leaks.shared_ids(found.splits), leaks.similar_images(found.splits, images), leaks.sequences(found.splits, images)]
    cases = chain.from_iterable(parts)
    return Diagnosis(found, legend, summaries, collect(cases), images, masks, time.perf_counter() - start)


def _read_all(found: Survey, legend: Legend) -> facts.Facts:
    """Read each image and each mask once, even if several splits name it, and the tar files that hold them."""
    keys = found.keys()
    names = list(dict.fromkeys(name for _, name in keys))
    with ThreadPoolExecutor() as pool:
        masks = pool.map(lambda key: inspect_mask(found.masks[key[0]][key[1]], legend.colors, legend.own), keys)
        by_key = dict(zip(keys, progress(masks, len(keys), "read masks"), strict=True))
        images = pool.map(lambda name: inspect_image(found.images[name]), names)
        by_name = dict(zip(names, progress(images, len(names), "read images"), strict=True))
        damaged = pool.map(lambda shard: _is_damaged(found.root / shard.file, shard), found.packed)
        return by_name, by_key, [shard.file for shard, wrong in zip(found.packed, damaged, strict=True) if wrong]


def _is_damaged(path: Path, shard: ShardFile) -> bool:
    try:
        check_shard(path, shard)
    except DataError:
        return True
    return False


def _pair_cases(found: Survey, legend: Legend, images: dict[str, ImageFacts], masks: dict[MaskKey, MaskFacts]) -> Iterator[Case]:
    binary = is_binary(masks.values())
    empty_is_normal = binary or legend.classes[0] not in voc.BACKGROUND_NAMES
    conflict = palette_conflict((mask.path.relative_to(found.root), mask.colors) for mask in masks.values())
    if conflict:
        yield Case("palette-conflict", found.splits[0].mask_dir, conflict)
    for (folder, name), mask in masks.items():
        pair = (found.images[name],), mask.path
        for kind, detail in problems(images[name], mask, len(legend.classes)):
            if not (kind in ("all-background", "void-objects") and empty_is_normal):
                path = found.images[name] if "image" in kind else mask.path
                yield Case(kind, str(path.relative_to(found.root)), detail, *pair)
        if binary and mask.counts[voc.VOID]:
            yield Case("binary-mask", f"{folder}/{mask.path.name}", "", *pair)


def is_binary(masks: Iterable[MaskFacts]) -> bool:
    """Return whether masks without palette show only 0 and 255, and both of them."""
    readable = [mask for mask in masks if not mask.error]
    if any(mask.kind == "palette" or mask.foreign for mask in readable):
        return False
    shown = np.any([mask.counts > 0 for mask in readable], axis=0)
    return bool(readable) and np.flatnonzero(shown).tolist() == [voc.BACKGROUND, voc.VOID]


def _class_cases(legend: Legend, summaries: dict[str, SplitSummary], binary: bool) -> Iterator[Case]:
    if legend.renamed:
        names = f"{counted(len(legend.classes), 'class')}: {', '.join(legend.classes[:5])}, ..."
        yield Case("class-names", LABELMAP, names)
    for name, summary in summaries.items():
        if not summary.pixels.any():
            continue  # no mask could be read
        if fault := None if binary else split_fault(summary.pixels, legend.classes):
            yield Case(fault[0], name, fault[1])
        elif summary.absent:
            yield Case("absent-class", name, ", ".join(summary.absent))
