"""Write a repaired copy of a data set, with a log of each change."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from vocseg import draw, voc
from vocseg.data.color_table import color_labels
from vocseg.data.image_io import decode_mask
from vocseg.data.label_checks import PALETTE_ADVICE, palette_conflict
from vocseg.data.layout import refuse_inside
from vocseg.data.packed import read_bytes
from vocseg.doctor.checks import ImageFacts, MaskFacts, problems, stray_labels
from vocseg.doctor.examine import Diagnosis, is_binary
from vocseg.doctor.issues import KINDS
from vocseg.doctor.survey import Legend, MaskKey
from vocseg.errors import DataError, InputError, OutputError
from vocseg.utils.files import building, cannot_write, writable_folder, write_json, write_text
from vocseg.utils.progress import progress
from vocseg.utils.text import counted, portable

LOG = "fixes.json"
CONVERSIONS = {"gray": "palette added", "color": "colors to ids", "deep": "converted to 8 bits", "channel": "color channel to ids"}
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
    unordered = [mask for mask in diagnosis.masks.values() if not mask.order]
    if conflict := palette_conflict((mask.path, mask.colors) for mask in unordered):
        raise DataError(f"masks of {root}: {conflict}: {PALETTE_ADVICE}")
    require_empty(out)
    refuse_inside(out, root)
    with building(out) as folder:
        repairs = Repairs()
        sound = _copy_pairs(diagnosis, folder, labels, repairs)
        _write_lists(diagnosis, folder, sound, repairs)
        write_json(folder / LOG, {"source": portable(root), "void": labels} | repairs.to_dict())
    return repairs


def require_empty(out: Path) -> None:
    """Raise OutputError if ``out`` exists and is not an empty folder."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} is not an empty folder; --fix never changes a data set in place")


def _copy_pairs(diagnosis: Diagnosis, out: Path, void: list[int], repairs: Repairs) -> set[MaskKey]:
    """Write the repaired pairs and return their keys."""
    survey, mender = diagnosis.survey, _Mender(diagnosis.legend, is_binary(diagnosis.masks.values()), void)

    def copy(key: MaskKey) -> tuple[str, str]:
        """Copy a pair, repaired; return the change, and the reason for skipping the pair, empty if there is none."""
        folder, name = key
        image, mask, target = diagnosis.images[name], diagnosis.masks[key], out / folder / f"{name}.png"
        if reason := mender.defect(image, mask):
            return "", reason
        try:
            (out / voc.IMAGES / image.path.name).write_bytes(read_bytes(image.path))
            labels, steps = mender.mend(image, mask)
            if not steps:
                target.write_bytes(read_bytes(mask.path))
        except OSError as error:
            raise cannot_write(target, error) from error
        if steps:
            draw.save_mask(torch.from_numpy(labels), target, diagnosis.legend.colors[:-1])
        return "; ".join(steps), ""

    for folder in (voc.IMAGES, voc.SPLITS, next(iter(survey.masks)), *(split.mask_dir for split in survey.splits)):
        writable_folder(out / folder)
    keys = sorted(diagnosis.masks)
    sound: set[MaskKey] = set()
    with ThreadPoolExecutor() as pool:
        for key, (change, reason) in zip(keys, progress(pool.map(copy, keys), len(keys), "repair"), strict=True):
            file = f"{key[0]}/{key[1]}.png"
            if reason:
                repairs.skipped.append((file, reason))
                continue
            sound.add(key)
            repairs.copied += not change
            repairs.changes += [(file, change)] if change else []
    if not sound:
        first = f"; the first: {': '.join(repairs.skipped[0])}" if repairs.skipped else ""
        raise DataError(f"{survey.root} holds no pair that can be repaired safely{first}")
    return sound


@dataclass(frozen=True)
class _Mender:
    """Repairs masks one by one; labels in ``void`` become 255, and 255 becomes 1 if the masks are ``binary``."""

    legend: Legend
    binary: bool
    void: list[int]

    def defect(self, image: ImageFacts, mask: MaskFacts) -> str:
        """Say why a pair cannot be repaired safely; empty if it can."""
        num_classes = len(self.legend.classes)
        for kind, detail in problems(image, mask, num_classes):
            mendable = kind in ("exif-rotated", "color-mask", "deep-mask", "channel-mask") or (
                kind == "stray-label" and not mask.foreign and set(stray_labels(mask, num_classes)) <= set(self.void)
            )
            if KINDS[kind].severity == "error" and not mendable:
                return f"{KINDS[kind].text}{': ' if detail else ''}{detail}"
        return KINDS["binary-mask"].text if self.binary and num_classes != 2 else ""

    def mend(self, image: ImageFacts, mask: MaskFacts) -> tuple[NDArray[np.uint8], list[str]]:
        """Return the repaired labels and what was done to them."""
        labels = decode_mask(mask.path, color_labels(self.legend.colors)).labels
        steps = [CONVERSIONS[mask.kind]] if mask.kind in CONVERSIONS else []
        if mask.order:
            labels = _mapped(labels, mask.order)
            steps.append("ids put in the order of the palette's colors")
        if found := [label for label in self.void if mask.counts[label]]:
            labels = _mapped(labels, dict.fromkeys(found, voc.VOID))
            steps.append(f"label {', '.join(map(str, found))} to void")
        if self.binary:
            labels = np.minimum(labels, 1)
            steps.append("255 to 1")
        if image.size != mask.size:
            stored = Image.fromarray(labels)
            stored.getexif()[ExifTags.Base.Orientation] = image.orientation
            labels = np.array(ImageOps.exif_transpose(stored))
            steps.append(f"rotated by the image's EXIF orientation {image.orientation}")
        return labels, steps


def _mapped(labels: NDArray[np.uint8], mapping: dict[int, int]) -> NDArray[np.uint8]:
    table = np.arange(256, dtype=np.uint8)
    table[list(mapping)] = list(mapping.values())
    return table[labels]


def _write_lists(diagnosis: Diagnosis, out: Path, sound: set[MaskKey], repairs: Repairs) -> None:
    """Write split lists of the ids whose pair is sound, and classes.txt; log what the old lists and files lack."""
    survey = diagnosis.survey
    cases = {finding.kind: finding.cases for finding in diagnosis.findings}
    missing = [*cases.get("missing-image", ()), *cases.get("missing-mask", ())]
    for split in survey.splits:
        ids = [name for name in split.ids if (split.mask_dir, name) in sound]
        file = f"{voc.SPLITS}/{split.name}.txt"
        if ids:
            write_text(out / file, "".join(f"{name}\n" for name in ids))
        else:
            repairs.skipped.append((file, "none of its pairs is left"))
        incomplete = sum(case.detail.split(", ")[0] == split.name for case in missing)
        if removed := len(split.ids) - len(ids) + incomplete:
            repairs.changes.append((file, f"{counted(removed, 'id')} removed, {len(ids)} kept"))
    for finding in diagnosis.findings:
        if finding.kind in ("list-of-files", "repeated-id"):
            repairs.changes += [(case.file, f"{finding.text}: repaired ({case.detail})") for case in finding.cases]
        if finding.kind in ("missing-image", "missing-mask", "orphan-mask", "unreadable-list"):
            repairs.skipped += [(case.file, f"{finding.text}{': ' if case.detail else ''}{case.detail}") for case in finding.cases]
    named = (survey.root / voc.CLASSES_FILE).exists()
    if named or diagnosis.legend.renamed:
        write_text(out / voc.CLASSES_FILE, "".join(f"{name}\n" for name in diagnosis.legend.classes))
        repairs.changes += [] if named else [(voc.CLASSES_FILE, "written from labelmap.txt")]
