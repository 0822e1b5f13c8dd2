"""A repaired copy of a data set, with a log of each change."""

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
from vocseg.doctor.checks import ImageFacts, Labels, MaskFacts, problems, read_labels
from vocseg.doctor.examine import Diagnosis, is_binary
from vocseg.doctor.issues import KINDS
from vocseg.doctor.survey import SplitList
from vocseg.errors import DataError, OutputError
from vocseg.utils.files import building, cannot_write, writable_folder, write_json, write_text
from vocseg.utils.progress import progress

LOG = "fixes.json"
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings a stored image upright, by its EXIF orientation (as Pillow's ``ImageOps.exif_transpose``)."""


@dataclass
class Repairs:
    """What was done: changes and left-out ids with their reasons, both as pairs (file or id, text), and copied files."""

    changes: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    copied: int = 0

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "copied": self.copied,
            "changes": [{"file": file, "change": change} for file, change in self.changes],
            "left_out": [{"file": file, "reason": reason} for file, reason in self.left_out],
        }


def repair(diagnosis: Diagnosis, out: Path, void: Iterable[int] = ()) -> Repairs:
    """Write a repaired copy of what the examined splits hold to ``out``, which must be new or empty, and a log ``fixes.json``.

    Masks become palette PNGs of class ids; labels in ``void`` become 255; masks that lack the turn of their image's EXIF
    tag are turned. Pairs that cannot be repaired safely are left out, and told in the log. Raises OutputError where
    ``out`` is not empty or cannot be written, DataError where no pair is left.
    """
    root = diagnosis.survey.root
    require_empty(out)
    if out.resolve().is_relative_to(root.resolve()):
        raise OutputError(f"{out} lies inside the data set {root}; choose another folder")
    with building(out) as folder:
        return _repair(diagnosis, folder, void)


def require_empty(out: Path) -> None:
    """Raise OutputError where ``out`` is there and no empty folder."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} is not an empty folder; --fix never changes a data set in place")


def _repair(diagnosis: Diagnosis, out: Path, void: Iterable[int]) -> Repairs:
    root = diagnosis.survey.root
    mend = _Mending(diagnosis, frozenset(void))
    wanted = sorted({(split.mask_dir, name) for split in diagnosis.survey.splits for name in split.ids})
    main = next(iter(diagnosis.survey.masks))
    for folder in (voc.IMAGES, voc.SPLITS, main, *(split.mask_dir for split in diagnosis.survey.splits)):
        writable_folder(out / folder)
    repairs = Repairs()
    sound: set[tuple[str, str]] = set()
    with ThreadPoolExecutor() as pool:
        for key, change, reason in progress(pool.map(lambda key: mend.pair(key, out), wanted), len(wanted), "repair"):
            file = f"{key[0]}/{key[1]}.png"
            if reason:
                repairs.left_out.append((file, reason))
                continue
            sound.add(key)
            repairs.copied += not change
            if change:
                repairs.changes.append((file, change))
    if not sound:
        reason = f"; the first: {': '.join(repairs.left_out[0])}" if repairs.left_out else ""
        raise DataError(f"{root} holds no pair that can be repaired safely{reason}")
    _write_lists(diagnosis, out, sound, repairs)
    _write_classes(diagnosis, out, repairs)
    write_json(out / LOG, {"source": str(root), "void": sorted(mend.void)} | repairs.to_dict())
    return repairs


@dataclass
class _Mending:
    """Repairs pairs one by one; ``void`` are labels that become 255."""

    diagnosis: Diagnosis
    void: frozenset[int]

    def __post_init__(self) -> None:
        classes = self.diagnosis.legend.classes
        self.binary = is_binary(self.diagnosis.masks.values())
        self.two_classes = len(classes) == 2
        self.palette = self.diagnosis.legend.colors[: len(classes)]

    def pair(self, key: tuple[str, str], out: Path) -> tuple[tuple[str, str], str, str]:
        """Copy a pair, mended; returns its key, what was changed, and, where it had to be left out, why."""
        folder, name = key
        image, mask = self.diagnosis.images[name], self.diagnosis.masks[key]
        reason = self.hopeless(image, mask)
        if reason:
            return key, "", reason
        target = out / folder / f"{name}.png"
        try:
            shutil.copyfile(image.path, out / voc.IMAGES / image.path.name)
            change = self.mask(image, mask, target)
            if not change:
                shutil.copyfile(mask.path, target)
        except OSError as error:
            raise cannot_write(target, error) from error
        return key, change, ""

    def hopeless(self, image: ImageFacts, mask: MaskFacts) -> str:
        """Why a pair cannot be repaired safely, or an empty string."""
        num_classes = len(self.diagnosis.legend.classes)
        stray = [label for label in np.flatnonzero(mask.counts).tolist() if num_classes <= label != voc.VOID]
        for problem in problems(image, mask, num_classes):
            mended = problem.kind in ("exif-rotated", "color-mask", "deep-mask")
            mended |= problem.kind == "stray-label" and not mask.foreign and self.void.issuperset(stray)
            if KINDS[problem.kind].severity == "error" and not mended:
                return f"{KINDS[problem.kind].text}{': ' if problem.detail else ''}{problem.detail}"
        return KINDS["binary-mask"].text if self.binary and not self.two_classes else ""

    def mask(self, image: ImageFacts, facts: MaskFacts, target: Path) -> str:
        """Write a mended mask and return what was changed; nothing is written where nothing was to be."""
        labels = read_labels(facts.path, self.diagnosis.legend.colors).labels
        steps: list[str] = []
        if facts.kind != "palette":
            steps.append({"gray": "palette added", "color": "colors to ids", "deep": "brought to 8 bits"}[facts.kind])
        if facts.order:
            labels = _mapped(labels, facts.order)
            steps.append("ids put in the order of the palette's colors")
        found = sorted(label for label in self.void if 0 <= label < voc.VOID and facts.counts[label])
        if found:
            labels = _mapped(labels, dict.fromkeys(found, voc.VOID))
            steps.append(f"label {', '.join(map(str, found))} to void")
        if self.binary:
            labels = np.minimum(labels, 1)
            steps.append("255 to 1")
        if image.size != facts.size:
            turned = Image.fromarray(labels).transpose(TURNS[image.orientation])
            labels = np.array(turned)
            steps.append(f"turned as the image's EXIF orientation {image.orientation}")
        if steps:
            draw.save_mask(torch.from_numpy(labels), target, self.palette)
        return "; ".join(steps)


def _mapped(labels: Labels, mapping: dict[int, int]) -> Labels:
    table = np.arange(256, dtype=np.uint8)
    table[list(mapping)] = list(mapping.values())
    return table[labels]


def _write_lists(diagnosis: Diagnosis, out: Path, sound: set[tuple[str, str]], repairs: Repairs) -> None:
    """The split lists with the ids whose pair is sound; lists with none are left out."""
    for split in diagnosis.survey.splits:
        ids = [name for name in split.ids if (split.mask_dir, name) in sound]
        file = f"{voc.SPLITS}/{split.name}.txt"
        if ids:
            write_text(out / file, "".join(f"{name}\n" for name in ids))
        else:
            repairs.left_out.append((file, "no pair of it is left"))
        dropped = len(split.ids) - len(ids) + _incomplete(diagnosis, split)
        if dropped:
            repairs.changes.append((file, f"{dropped} ids dropped, {len(ids)} kept"))
    for finding in diagnosis.findings:
        if finding.kind in ("list-of-files", "repeated-id"):
            repairs.changes += [(case.file, f"{finding.text}: mended ({case.detail})") for case in finding.cases]
        if finding.kind in ("missing-image", "missing-mask", "orphan-mask", "unreadable-list"):
            repairs.left_out += [(case.file, f"{finding.text}{': ' if case.detail else ''}{case.detail}") for case in finding.cases]


def _incomplete(diagnosis: Diagnosis, split: SplitList) -> int:
    """Ids of a split's list that lack an image or mask."""
    missing = [finding for finding in diagnosis.findings if finding.kind in ("missing-image", "missing-mask")]
    return sum(case.detail.split(", ")[0] == split.name for finding in missing for case in finding.cases)


def _write_classes(diagnosis: Diagnosis, out: Path, repairs: Repairs) -> None:
    source = diagnosis.survey.root / voc.CLASSES_FILE
    if source.exists() or diagnosis.legend.renamed:
        write_text(out / voc.CLASSES_FILE, "".join(f"{name}\n" for name in diagnosis.legend.classes))
        if not source.exists():
            repairs.changes.append((voc.CLASSES_FILE, "written from labelmap.txt"))
