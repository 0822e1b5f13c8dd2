"""What can be wrong with a data set: kinds of finding, how bad they are, what to do about them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""An error stops training or spoils its scores, a warning probably harms, a note is good to know."""


@dataclass(frozen=True)
class Kind:
    """How bad a kind of finding is, what it means in one line, and what to do about it."""

    severity: Severity
    text: str
    advice: str


@dataclass(frozen=True)
class Case:
    """One place where something was found: a file (or list, or class), what exactly, and the files that show it."""

    file: str
    detail: str = ""
    images: tuple[Path, ...] = ()
    mask: Path | None = None


@dataclass(frozen=True)
class Finding:
    """All cases of one kind."""

    kind: str
    cases: tuple[Case, ...]

    @property
    def severity(self) -> Severity:
        return KINDS[self.kind].severity

    @property
    def text(self) -> str:
        return KINDS[self.kind].text

    @property
    def advice(self) -> str:
        return KINDS[self.kind].advice

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        cases = [{"file": case.file} | ({"detail": case.detail} if case.detail else {}) for case in self.cases]
        return {
            "kind": self.kind,
            "severity": self.severity,
            "count": len(cases),
            "text": self.text,
            "advice": self.advice,
            "files": cases,
        }


def collect(cases: Iterable[tuple[str, Case]]) -> list[Finding]:
    """Cases gathered by kind, worst first, in the order of :data:`KINDS`; a case met twice counts once."""
    by_kind: dict[str, dict[tuple[str, str], Case]] = {}
    for kind, case in cases:
        by_kind.setdefault(kind, {}).setdefault((case.file, case.detail), case)
    found = [Finding(kind, tuple(by_kind[kind].values())) for kind in KINDS if kind in by_kind]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


_DROP = "--fix drops the id from the lists; or bring the file"
_FIX = "--fix OUT repairs it"

KINDS: dict[str, Kind] = {
    # Lists and files
    "unreadable-list": Kind("error", "a split list cannot be used", "write one id a line, as UTF-8"),
    "missing-image": Kind("error", "a list names an id that has no image", _DROP),
    "missing-mask": Kind("error", "a list names an id that has no mask", f"{_DROP}, or name its folder with --mask-dir"),
    "list-of-files": Kind("error", "a list names files, not ids", _FIX),
    "repeated-id": Kind("error", "a list names an id twice", _FIX),
    "no-lists": Kind(
        "warning",
        "there are no split lists; all pairs are checked as split 'all'",
        "vocseg data convert DIR OUT draws train and val; or write ImageSets/Segmentation/train.txt and val.txt, one id a line",
    ),
    "orphan-mask": Kind("warning", "a mask has no image", "delete it, or bring the image; --fix leaves it out"),
    "unknown-file": Kind(
        "warning",
        "a file beside the images or masks is of a format that is not read there",
        "masks: PNG; images: JPEG, PNG, WebP, GIF",
    ),
    "same-stem": Kind("warning", "two images have the same id; only one is read", "remove or rename one"),
    "orphan-image": Kind("note", "images without a mask are not used", "nothing; label them to use them"),
    "unlisted": Kind("note", "images with a mask are in no list and not used", "nothing, or put them into a list"),
    "other-masks": Kind("note", "a split takes its masks from another folder", "train on it with --mask-dir"),
    "class-names": Kind(
        "warning", "labelmap.txt names other classes than are used", "write classes.txt; --fix does it from labelmap.txt"
    ),
    # Images
    "unreadable-image": Kind("error", "an image is truncated, damaged or no image", "get it again; --fix leaves it out"),
    "size-mismatch": Kind("error", "image and mask are of different size", "find the mask of this image; --fix leaves it out"),
    "exif-rotated": Kind("error", "an image is turned by its EXIF tag, its mask is not", "--fix OUT turns the mask"),
    "exif-unclear": Kind(
        "warning", "an image is turned by its EXIF tag; whether its mask is cannot be told from its size", "look: vocseg data show"
    ),
    # Masks
    "unreadable-mask": Kind("error", "a mask is truncated, damaged or no image", "get it again; --fix leaves it out"),
    "color-mask": Kind("error", "a mask holds colors, not class ids", "--fix OUT turns colors into ids"),
    "unknown-color": Kind(
        "error",
        "a color mask holds colors of no class",
        "give the colors in a labelmap.txt (name:r,g,b:: a line); check for JPEG or blurred masks",
    ),
    "deep-mask": Kind("error", "a mask has 16 bits or more", "--fix OUT brings it to 8 bits where its values are class ids"),
    "stray-label": Kind(
        "error",
        "a mask holds labels that are no class and not void (255)",
        "--fix OUT --void ID makes ID void; if the labels are classes, name all classes in classes.txt",
    ),
    "binary-mask": Kind(
        "error",
        "masks hold only 0 and 255, and 255 is void: no class is ever shown",
        "name two classes in classes.txt, then --fix OUT turns 255 into 1",
    ),
    "reordered-palette": Kind(
        "warning",
        "a mask's ids disagree with its palette: the colors are VOC's classes in another order",
        "look: vocseg data show; --fix OUT goes by color",
    ),
    "interpolated": Kind(
        "warning",
        "a mask looks resized with interpolation: bands of in-between ids along borders",
        "make it again with nearest-neighbor resizing",
    ),
    "all-void": Kind("warning", "a mask is void everywhere", "leave it out: nothing is learned or scored there"),
    "void-objects": Kind(
        "warning",
        "a mask shows nothing but background and void (255)",
        "if 255 is an object there, give it its class's id; else label the objects, or leave the mask out",
    ),
    "all-background": Kind("note", "a mask is background everywhere", "fine for images without objects; else label them"),
    "gray-mask": Kind(
        "note", "a mask is a gray PNG without palette", "fine for training; --fix OUT adds the palette, so that it can be looked at"
    ),
    # Splits
    "same-id": Kind("error", "a split that is scored shares ids with one that is trained on", "drop the id from one of the lists"),
    "leak": Kind("error", "an image that is scored is also trained on, under another id", "drop the id from one of the lists"),
    "near-leak": Kind(
        "warning",
        "an image that is scored has a near-duplicate that is trained on",
        "look at the page (--html); drop one, or split by group",
    ),
    "overlap": Kind("warning", "two splits that are scored share some ids, but neither holds the other", "fine if it is meant"),
    "duplicate": Kind("warning", "the same image is there under several ids", "drop one, unless it is meant to weigh more"),
    "near-duplicate": Kind("note", "images that are near-duplicates", "fine within training; keep them on one side of a split"),
    "absent-class": Kind(
        "warning", "a class is never shown in a split", "its IoU will be 0 or undefined; add images or quote another split"
    ),
}
"""All kinds of finding, in the order in which they are told within a severity."""
