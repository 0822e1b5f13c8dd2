"""Write a repaired copy of a data set, with a log of each change."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vocseg import draw, voc
from vocseg.doctor.checks import ImageFacts, Labels, MaskFacts, problems, read_any_mask, stray_labels
from vocseg.doctor.examine import Diagnosis, MaskKey, is_binary
from vocseg.doctor.issues import KINDS
from vocseg.doctor.survey import SplitList
from vocseg.errors import DataError, InputError, OutputError
from vocseg.utils.files import building, cannot_write, writable_folder, write_json, write_text
from vocseg.utils.progress import progress

LOG = "fixes.json"
TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a stored image upright, by EXIF orientation (as in Pillow's ``ImageOps.exif_transpose``)."""
CONVERSIONS = {"gray": "palette added", "color": "colors to ids", "deep": "converted to 8 bits"}
"""Changes by kind of mask."""


@dataclass
class Repairs:
    """What a repair did: (file, change) and (file, reason to skip it), and how many masks it copied unchanged."""

    changes: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    copied: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "copied": self.copied,
            "changes": [{"file": file, "change": change} for file, change in self.changes],
            "skipped": [{"file": file, "reason": reason} for file, reason in self.skipped],
        }


def repair(diagnosis: Diagnosis, out: Path, void: Iterable[int] = ()) -> Repairs:
    """Write a repaired copy of the examined splits to the new or empty folder ``out``, with a log ``fixes.json``.

    Masks become palette PNGs of class ids; labels in ``void`` become 255; masks are rotated if only their image is, by
    its EXIF tag. Pairs that cannot be repaired safely are skipped and logged. Raises InputError for a label outside 0
    to 254, OutputError if ``out`` is not empty or cannot be written, DataError if no pair is left.
    """
    labels = sorted(set(void))
    if not all(0 <= label < voc.VOID for label in labels):
        raise InputError(f"labels to turn into void must be 0 to 254, not {', '.join(map(str, labels))}")
    root = diagnosis.survey.root
    require_empty(out)
    if out.resolve().is_relative_to(root.resolve()):
        raise OutputError(f"{out} lies inside the data set {root}; choose another folder")
    with building(out) as folder:
        repairs = _write_copy(diagnosis, folder, labels)
        write_json(folder / LOG, {"source": str(root), "void": labels} | repairs.to_dict())
    return repairs


def require_empty(out: Path) -> None:
    """Raise OutputError if ``out`` exists and is not an empty folder."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} is not an empty folder; --fix never changes a data set in place")


def _write_copy(diagnosis: Diagnosis, out: Path, void: list[int]) -> Repairs:
    survey = diagnosis.survey
    mender = _Mender(diagnosis, frozenset(void))
    wanted = sorted({(split.mask_dir, name) for split in survey.splits for name in split.ids})
    for folder in (voc.IMAGES, voc.SPLITS, next(iter(survey.masks)), *(split.mask_dir for split in survey.splits)):
        writable_folder(out / folder)
    repairs = Repairs()
    sound: set[MaskKey] = set()
    with ThreadPoolExecutor() as pool:
        results = progress(pool.map(lambda key: mender.copy_pair(key, out), wanted), len(wanted), "repair")
        for (folder, name), (change, reason) in zip(wanted, results, strict=True):
            if reason:
                repairs.skipped.append((f"{folder}/{name}.png", reason))
                continue
            sound.add((folder, name))
            repairs.copied += not change
            repairs.changes += [(f"{folder}/{name}.png", change)] if change else []
    if not sound:
        first = f"; the first: {': '.join(repairs.skipped[0])}" if repairs.skipped else ""
        raise DataError(f"{survey.root} holds no pair that can be repaired safely{first}")
    for split in survey.splits:
        _write_list(diagnosis, split, out, sound, repairs)
    _log_lists(diagnosis, repairs)
    _write_classes(diagnosis, out, repairs)
    return repairs


@dataclass
class _Mender:
    """Repairs pairs one by one; ``void`` are labels that become 255."""

    diagnosis: Diagnosis
    void: frozenset[int]

    def __post_init__(self) -> None:
        self.num_classes = len(self.diagnosis.legend.classes)
        self.binary = is_binary(self.diagnosis.masks.values())

    def copy_pair(self, key: MaskKey, out: Path) -> tuple[str, str]:
        """Copy a pair, repaired; return the change and the reason for skipping the pair, empty if there is none."""
        folder, name = key
        target = out / folder / f"{name}.png"
        image, mask = self.diagnosis.images[name], self.diagnosis.masks[key]
        if reason := self._defect(image, mask):
            return "", reason
        try:
            shutil.copyfile(image.path, out / voc.IMAGES / image.path.name)
            labels, steps = self._mend(image, mask)
            if not steps:
                shutil.copyfile(mask.path, target)
        except OSError as error:
            raise cannot_write(target, error) from error
        if steps:
            draw.save_mask(torch.from_numpy(labels), target, self.diagnosis.legend.colors[: self.num_classes])
        return "; ".join(steps), ""

    def _defect(self, image: ImageFacts, mask: MaskFacts) -> str:
        """Say why a pair cannot be repaired safely; empty if it can."""
        for kind, detail in problems(image, mask, self.num_classes):
            mendable = kind in ("exif-rotated", "color-mask", "deep-mask") or (
                kind == "stray-label" and not mask.foreign and self.void.issuperset(stray_labels(mask, self.num_classes))
            )
            if KINDS[kind].severity == "error" and not mendable:
                return f"{KINDS[kind].text}{': ' if detail else ''}{detail}"
        return KINDS["binary-mask"].text if self.binary and self.num_classes != 2 else ""

    def _mend(self, image: ImageFacts, mask: MaskFacts) -> tuple[Labels, list[str]]:
        """Return the repaired labels and what was done to them."""
        labels = read_any_mask(mask.path, self.diagnosis.legend.colors).labels
        steps = [CONVERSIONS[mask.kind]] if mask.kind in CONVERSIONS else []
        if mask.order:
            labels = _mapped(labels, mask.order)
            steps.append("ids put in the order of the palette's colors")
        if found := sorted(label for label in self.void if mask.counts[label]):
            labels = _mapped(labels, dict.fromkeys(found, voc.VOID))
            steps.append(f"label {', '.join(map(str, found))} to void")
        if self.binary:
            labels = np.minimum(labels, 1)
            steps.append("255 to 1")
        if image.size != mask.size:
            labels = np.array(Image.fromarray(labels).transpose(TRANSPOSES[image.orientation]))
            steps.append(f"rotated by the image's EXIF orientation {image.orientation}")
        return labels, steps


def _mapped(labels: Labels, mapping: dict[int, int]) -> Labels:
    table = np.arange(256, dtype=np.uint8)
    table[list(mapping)] = list(mapping.values())
    return table[labels]


def _write_list(diagnosis: Diagnosis, split: SplitList, out: Path, sound: set[MaskKey], repairs: Repairs) -> None:
    """Write a split list of the ids whose pair is sound, unless there is none."""
    ids = [name for name in split.ids if (split.mask_dir, name) in sound]
    file = f"{voc.SPLITS}/{split.name}.txt"
    if ids:
        write_text(out / file, "".join(f"{name}\n" for name in ids))
    else:
        repairs.skipped.append((file, "none of its pairs is left"))
    missing = [finding for finding in diagnosis.findings if finding.kind in ("missing-image", "missing-mask")]
    incomplete = sum(case.detail.split(", ")[0] == split.name for finding in missing for case in finding.cases)
    if removed := len(split.ids) - len(ids) + incomplete:
        repairs.changes.append((file, f"{removed} ids removed, {len(ids)} kept"))


def _log_lists(diagnosis: Diagnosis, repairs: Repairs) -> None:
    for finding in diagnosis.findings:
        if finding.kind in ("list-of-files", "repeated-id"):
            repairs.changes += [(case.file, f"{finding.text}: repaired ({case.detail})") for case in finding.cases]
        if finding.kind in ("missing-image", "missing-mask", "orphan-mask", "unreadable-list"):
            repairs.skipped += [(case.file, f"{finding.text}{': ' if case.detail else ''}{case.detail}") for case in finding.cases]


def _write_classes(diagnosis: Diagnosis, out: Path, repairs: Repairs) -> None:
    source = diagnosis.survey.root / voc.CLASSES_FILE
    if source.exists() or diagnosis.legend.renamed:
        write_text(out / voc.CLASSES_FILE, "".join(f"{name}\n" for name in diagnosis.legend.classes))
        if not source.exists():
            repairs.changes.append((voc.CLASSES_FILE, "written from labelmap.txt"))
