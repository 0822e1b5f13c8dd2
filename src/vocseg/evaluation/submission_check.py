"""Examine an archive of masks for VOC's test server, whoever made it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vocseg import voc
from vocseg.data.image_io import image_size, open_image
from vocseg.data.layout import VocFolder
from vocseg.errors import DataError
from vocseg.utils.arguments import checked
from vocseg.utils.files import write_json
from vocseg.utils.progress import bar
from vocseg.utils.tar import DamagedTar, Member, NotTar, members
from vocseg.utils.text import counted, portable

FOLDER = "results/VOC2012/Segmentation/{task}_test_cls"
"""Folder of the masks in an archive (VOC2012 development kit, section 8)."""
_FOLDERS = re.compile(r"results/VOC2012/Segmentation/(comp5|comp6)_test_cls/[^/]+")
MEMBER_LIMIT = 64 << 20
"""Most bytes of a file that is read from an archive."""
JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif")
SHOWN = 3
"""Examples that are kept of each kind of fault."""

FAULTS = {
    "not-tar": "the file is not a tar archive: make a .tar or .tar.gz",
    "truncated": "the archive is cut off or damaged: make or copy it again",
    "wrong-folder": f"a mask is not in {FOLDER.format(task='comp6')} (or comp5_test_cls)",
    "backslash": "a path has back slashes: pack with / as the separator",
    "duplicate": "an image has several masks: keep one",
    "missing-id": "an image of the split has no mask",
    "extra-id": "a file is no mask of the split: remove it",
    "jpeg": "a mask is a JPEG, whose compression changes labels: save masks as PNG from the original",
    "unreadable": "a mask is not a readable PNG file",
    "wrong-size": "a mask has another size than its image (height x width)",
    "wrong-mode": "a mask is not a palette PNG of 8 bits or fewer",
    "wrong-palette": "a palette gives a class another color than VOC's",
    "void": f"a mask holds {voc.VOID} (void), which is only for ground truth",
    "stray-value": f"a mask holds a value above {len(voc.CLASSES) - 1}, the last class",
}
"""What can be wrong with an archive, by kind."""

Visit = Callable[[str, NDArray[np.uint8]], None]
"""Gets the id and the labels (H x W) of each mask without fault."""


class Fault(NamedTuple):
    """A kind of fault, a key of FAULTS; how many there are; the first examples."""

    kind: str
    number: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class SubmissionCheck:
    """What is wrong with an archive for VOC's test server; ``images``: of the split. Without faults, ``ok`` is true.

    >>> SubmissionCheck(Path("a.zip"), "test", 1456, (Fault("not-tar", 1, ("it is a zip file",)),)).lines()
    ['not-tar (1): the file is not a tar archive: make a .tar or .tar.gz; here: it is a zip file']
    """

    file: Path
    split: str
    images: int
    faults: tuple[Fault, ...]

    def __repr__(self) -> str:
        return f"SubmissionCheck({self.file.name}: {counted(sum(fault.number for fault in self.faults), 'fault')})"

    @property
    def ok(self) -> bool:
        """Whether no fault was found."""
        return not self.faults

    def lines(self) -> list[str]:
        """Describe the faults, each with its first examples, in lines of text."""
        lines = [
            f"{fault.kind} ({fault.number:,}): {FAULTS[fault.kind]}; here: {', '.join(fault.examples)}" for fault in self.faults
        ]
        return lines or [f"{self.file} is fit to be submitted: {counted(self.images, 'mask')}, one for each image of {self.split}"]

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        faults = [fault._asdict() | {"examples": list(fault.examples), "text": FAULTS[fault.kind]} for fault in self.faults]
        return {"file": portable(self.file), "split": self.split, "images": self.images, "ok": self.ok, "faults": faults}

    def save(self, path: str | Path) -> None:
        """Write the faults as JSON; may raise OutputError."""
        write_json(Path(path), self.to_dict())


@checked
def check_submission(file: str | Path, data: str | Path, split: str = "test", *, title: str | None = None) -> SubmissionCheck:
    """Examine an archive of masks for VOC's test server, made by any tool.

    ``data``: a folder in VOC layout with the images of ``split``; it needs no masks. The archive is read as a stream in
    bounded memory; nothing is unpacked. ``title``: shows a progress bar on a terminal. Raises DataError if the file
    cannot be opened or the data cannot be read; whatever is wrong with the archive is in the result.

    >>> import vocseg
    >>> from vocseg.data.samples import FOLDER
    >>> check_submission(FOLDER / "README.md", FOLDER, "samples").faults[0].kind
    'not-tar'
    """
    folder = VocFolder.find(data, masks=False)
    return examine(Path(file), folder, split, title=title)


def examine(file: Path, folder: VocFolder, split: str, visit: Visit | None = None, title: str | None = None) -> SubmissionCheck:
    """Examine an archive; ``visit`` gets each mask without fault."""
    names = folder.ids(split, masks=False)
    found = _Faults(folder, set(names), visit)
    with bar(total=len(names), desc=title, unit="mask", **({} if title else {"disable": True})) as shown:
        try:
            for member in members(file):
                found.add_member(member)
                shown.update()
        except NotTar as error:
            found.add("not-tar", str(error))
        except DamagedTar as error:
            found.add("truncated", str(error))
    for name in names if "not-tar" not in found.counts else ():
        if name not in found.seen:
            found.add("missing-id", name)
    rows = (Fault(kind, found.counts[kind], tuple(found.examples[kind])) for kind in FAULTS if kind in found.counts)
    return SubmissionCheck(file, split, len(names), tuple(rows))


class _Faults:
    """Counts faults, and keeps the first of each kind; memory grows with the split, not with the archive."""

    def __init__(self, folder: VocFolder, names: set[str], visit: Visit | None) -> None:
        self.folder, self.names, self.visit = folder, names, visit
        self.counts: dict[str, int] = {}
        self.examples: dict[str, list[str]] = {}
        self.seen: set[str] = set()
        self.task: str | None = None

    def add(self, kind: str, example: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if len(kept := self.examples.setdefault(kind, [])) < SHOWN:
            kept.append(example[:200])

    def add_member(self, member: Member) -> None:
        """Judge the place, the name and the content of a member; links, devices and other oddities are extra."""
        if member.is_folder:
            return
        path = member.name.replace("\\", "/").removeprefix("./")
        stem, dot, suffix = path.rpartition("/")[2].rpartition(".")
        known = stem in self.names and f"{dot}{suffix}".lower() in (".png", *JPEG_SUFFIXES) and member.is_file
        if "\\" in member.name:
            self.add("backslash", member.name)
        match = _FOLDERS.fullmatch(path)
        if known and (match is None or match[1] != (self.task or match[1])):
            self.add("wrong-folder", member.name)
        self.task = self.task or (match[1] if match else None)
        if not known or (suffix != "png" and f".{suffix.lower()}" not in JPEG_SUFFIXES):
            self.add("extra-id", member.name)
        if not known:
            return
        if stem in self.seen:
            self.add("duplicate", member.name)
        self.seen.add(stem)
        if member.size > MEMBER_LIMIT:
            self.add("unreadable", f"{member.name} ({member.size:,} bytes)")
            return
        self._add_mask(stem, member.name, member.read())

    def _add_mask(self, name: str, path: str, content: bytes) -> None:
        if path.lower().endswith(JPEG_SUFFIXES) or content.startswith(b"\xff\xd8"):
            self.add("jpeg", path)
            return
        size = image_size(self.folder.image(name))
        try:
            with open_image(io.BytesIO(content), "mask", decode=False) as image:
                if image.format != "PNG":
                    self.add("unreadable", f"{path} ({image.format})")
                    return
                if image.size != size[::-1]:  # before memory is taken for it
                    self.add("wrong-size", f"{path} ({image.height}x{image.width}, its image {size[0]}x{size[1]})")
                    return
                image.load()
                labels = np.array(image)
                kinds = dict(_value_faults(image, labels))
        except DataError as error:
            self.add("unreadable", f"{path} ({str(error).rpartition(': ')[2]})")
            return
        except Exception as error:  # decoders raise all kinds of errors for a damaged file
            self.add("unreadable", f"{path} ({type(error).__name__})")
            return
        for kind, detail in kinds.items():
            self.add(kind, f"{path} ({detail})")
        if not kinds and self.visit is not None:
            self.visit(name, labels)


def _value_faults(image: Image.Image, labels: NDArray[np.uint8]) -> list[tuple[str, str]]:
    """Return the kinds of faults of a decoded mask's values, each with a detail."""
    if image.mode not in ("P", "L"):
        return [("wrong-mode", image.mode)]
    faults = [] if image.mode == "P" else [("wrong-mode", image.mode)]
    present = np.flatnonzero(np.bincount(labels.ravel(), minlength=256)).tolist()
    palette = image.getpalette() or []
    for label in present if image.mode == "P" else ():
        color = tuple(palette[3 * label : 3 * label + 3])
        if label < len(voc.CLASSES) and color != voc.PALETTE[label]:
            faults.append(("wrong-palette", f"{voc.CLASSES[label]} is {color}, not {voc.PALETTE[label]}"))
            break
    if voc.VOID in present:
        faults.append(("void", counted(int((labels == voc.VOID).sum()), "pixel")))
    stray = [label for label in present if len(voc.CLASSES) <= label < voc.VOID]
    return faults + ([("stray-value", f"value {stray[0]}")] if stray else [])
