"""What can be wrong with a data set: the kinds of findings, their severity, and what to do about them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""An error stops training or spoils its scores, a warning probably does harm, a note is good to know."""


class Kind(NamedTuple):
    """A kind of finding: what it means in one line, and what to do about it."""

    severity: Severity
    text: str
    advice: str


@dataclass(frozen=True)
class Case:
    """One place where a ``kind`` of problem was found: a file (or list, or class), and the files that show it."""

    kind: str
    file: str
    detail: str = ""
    images: tuple[Path, ...] = ()
    mask: Path | None = None


@dataclass(frozen=True)
class Finding:
    """All cases of one kind, with the fields of its :class:`Kind`."""

    kind: str
    severity: Severity
    text: str
    advice: str
    cases: tuple[Case, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON values."""
        files = [{"file": case.file} | ({"detail": case.detail} if case.detail else {}) for case in self.cases]
        return {"kind": self.kind, "count": len(files)} | KINDS[self.kind]._asdict() | {"files": files}


def collect(cases: Iterable[Case]) -> tuple[Finding, ...]:
    """Group cases by kind, in the order of :data:`KINDS`; a repeated case counts once."""
    by_kind: dict[str, dict[tuple[str, str], Case]] = {}
    for case in cases:
        by_kind.setdefault(case.kind, {}).setdefault((case.file, case.detail), case)
    return tuple(Finding(kind, *about, tuple(by_kind[kind].values())) for kind, about in KINDS.items() if kind in by_kind)


_DROP = "add the file; or --fix OUT removes the id from the lists"
_FIX = "--fix OUT repairs it"
_REPLACE = "replace the file; --fix OUT skips it"
# fmt: off
_TEXTS: dict[Severity, dict[str, tuple[str, str]]] = {
    "error": {
        "unreadable-list": ("a split list cannot be used", "write one id per line, as UTF-8"),
        "missing-image": ("a list names an id that has no image", _DROP),
        "missing-mask": ("a list names an id that has no mask", f"{_DROP}; or name the masks' folder with --mask-dir"),
        "repeated-id": ("a list names an id twice", _FIX),
        "same-stem": ("two files have the same id", "delete or rename one; --fix OUT copies one"),
        "unreadable-image": ("an image is truncated, corrupt, or not an image", _REPLACE),
        "size-mismatch": ("an image and its mask differ in size",
            "find the image's own mask; --fix OUT skips the pair"),
        "exif-rotated": ("an image is rotated by its EXIF tag, but its mask is not", "--fix OUT rotates the mask"),
        "unreadable-mask": ("a mask is truncated, corrupt, or not an image", _REPLACE),
        "damaged-shard": ("a tar file is missing, or its SHA-256 is not the one in shards.json", "copy it again"),
        "color-mask": ("a mask holds colors instead of class ids", "--fix OUT converts colors to ids"),
        "unknown-color": ("a color mask holds colors that belong to no class",
            "list the colors in a labelmap.txt (one name:r,g,b:: per line); check for JPEG compression or blur"),
        "deep-mask": ("a mask has 16 bits or more", "--fix OUT converts it to 8 bits if its values are class ids"),
        "channel-mask": ("a color mask holds class ids in one channel", "--fix OUT converts it to a mask of ids"),
        "lossy-mask": ("a mask has a compression that changes labels, whatever its suffix says",
            "save it as PNG from the original; --fix OUT skips it"),
        "palette-conflict": ("a label has another color from mask to mask, so labels are not class ids",
            "vocseg data convert DIR OUT --colors FILE reads the masks by color"),
        "stray-label": ("a mask holds labels that are neither a class nor void (255)",
            "--fix OUT --void ID turns ID into void; if the labels are classes, name all classes in classes.txt"),
        "binary-mask": ("masks hold only 0 and 255, and 255 is void: no mask shows a class",
            "name two classes in classes.txt, then --fix OUT turns 255 into 1"),
        "void-split": ("a split is void everywhere: there is nothing to learn or to score",
            "name the masks' folder with --mask-dir"),
        "one-class": ("a split shows one class, though several are named: no score of it can be right",
            "check the masks' numbering and their folder (--mask-dir)"),
        "one-name": ("there is only one class: every pixel is of it, whatever a model says",
            "name the background too in classes.txt"),
        "same-id": ("a split for scoring shares ids with one for training", "remove the id from one of the lists"),
        "leak": ("an image for scoring is also trained on, under another id", "remove the id from one of the lists"),
    },
    "warning": {
        "no-lists": ("there are no split lists; all pairs are checked as split 'all'",
            "run vocseg data convert DIR OUT to draw train and val, or write ImageSets/Segmentation/train.txt and val.txt"),
        "orphan-mask": ("a mask has no image", "delete it or add the image; --fix OUT skips it"),
        "unknown-file": ("a file beside the images or masks has a format that is not read there",
            "convert masks to PNG, and images to JPEG, PNG, WebP, GIF, BMP or TIFF"),
        "class-names": ("labelmap.txt names other classes than training will use",
            "write classes.txt; --fix OUT writes it from labelmap.txt"),
        "exif-unclear": ("an image is rotated by its EXIF tag; whether its mask is too cannot be seen from its size",
            "look at both with vocseg data show"),
        "reordered-palette": ("a mask's ids disagree with its palette, whose colors are the classes' in another order",
            "look at it with vocseg data show; --fix OUT goes by color"),
        "interpolated": ("a mask looks resized with interpolation: bands of in-between ids along borders",
            "create it again with nearest-neighbor resizing"),
        "all-void": ("a mask is void everywhere", "remove it: it contributes to neither training nor scores"),
        "void-objects": ("a mask shows nothing but background and void (255)",
            "if 255 marks objects, use their class's id; otherwise label the objects or remove the mask"),
        "near-leak": ("an image for scoring has a near-duplicate that is trained on",
            "look at both with --html; remove one, or split by group"),
        "sequence": ("frames of one video are scored and trained on, side by side: scores will be too good",
            "keep all frames of a video in one split"),
        "overlap": ("two splits for scoring share some ids, but neither contains the other", "fine if intended"),
        "duplicate": ("the same image exists under several ids", "remove one, unless it is meant to count twice"),
        "absent-class": ("no mask of a split shows a class", "its IoU will be 0 or undefined; add images with it"),
    },
    "note": {
        "list-of-files": ("a list names files instead of ids, which other programs may not understand", _FIX),
        "orphan-image": ("images without a mask are not used", "label them to use them"),
        "unlisted": ("images with a mask are in no list and not used", "add them to a list to use them"),
        "other-masks": ("a split takes its masks from another folder", "train on it with --mask-dir"),
        "all-background": ("a mask is background everywhere", "fine for images without objects; otherwise label them"),
        "gray-mask": ("a mask is a gray PNG without palette", "fine for training; --fix OUT adds a palette to look at"),
        "near-duplicate": ("images are near-duplicates of each other", "fine in one split; keep them in the same one"),
    },
}
# fmt: on
KINDS = {kind: Kind(severity, *texts) for severity, kinds in _TEXTS.items() for kind, texts in kinds.items()}
"""All kinds of findings, worst first."""
