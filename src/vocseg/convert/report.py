"""What a conversion reports: classes, splits, and what was not converted."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from vocseg.convert.source import TOO_SMALL, Item, Lost, Source, skipped
from vocseg.errors import DataError
from vocseg.utils.text import counted

VOID_NAMES = {"void", "unlabeled", "unlabelled", "ignore", "ignored", "dontcare", "unknown", "undefined", "other", "others"}
"""Class names, without all but letters, that often mean void."""
MAX_NAMES = 24
"""How many class names a line of the report lists."""


@dataclass(frozen=True)
class ConvertReport:
    """Result of a conversion.

    ``kind`` is the source's format and ``found`` where its files are. ``images_per_class`` and ``pixels`` are counts
    in the order of ``classes``, ``void`` is the fraction of all pixels, ``splits`` are numbers of images, ``skipped``
    numbers of objects and files by kind that are not converted.

    >>> report = ConvertReport("voc", "data", 3, ("background", "cat"), (3, 2), (900, 80), 0.02, {"train": 2, "val": 1})
    >>> for line in report.lines():
    ...     print(line)
    voc: data
    classes: background, cat; void: 2.0%
    splits: train 2, val 1
    """

    kind: str
    found: str
    images: int
    classes: tuple[str, ...]
    images_per_class: tuple[int, ...]
    pixels: tuple[int, ...]
    void: float
    splits: dict[str, int]
    notes: list[str] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        skipped = f"; skipped: {', '.join(f'{count} {kind}' for kind, count in self.skipped.items())}" if self.skipped else ""
        return f"ConvertReport({self.kind}: {counted(self.images, 'image')}, {len(self.classes)} classes{skipped})"

    def lines(self) -> list[str]:
        """Return what was found and decided, and hints at probable mistakes, as lines of text."""
        absent = [name for name, count in zip(self.classes, self.images_per_class, strict=True) if not count]
        more = ", ..." if len(self.classes) > MAX_NAMES else ""
        lines = [f"{self.kind}: {self.found}", *dict.fromkeys(self.notes)]
        lines.append(f"classes: {', '.join(self.classes[:MAX_NAMES])}{more}; void: {self.void:.1%}")
        if absent:
            lines.append(f"classes in no image: {', '.join(absent)}")
        last = len(self.classes) - 1
        if self.classes[-1] == f"class_{last}" and self.classes[-1] not in absent and f"class_{last - 1}" in absent:
            lines.append(f"label {last} is separated from the others by unused labels; if it is not a class, use --void {last}")
        learned = next((name for name in self.classes if re.sub(r"[^a-z]", "", name.lower()) in VOID_NAMES), None)
        if learned is not None:
            lines.append(f"'{learned}' is converted as a class; if it is not a class, use --void {shlex.quote(learned)}")
        spelled: dict[str, str] = {}
        for name in self.classes:
            if (other := spelled.setdefault(name.casefold(), name)) != name:
                lines.append(f"'{other}' and '{name}' are two classes; if they are one, give them one name in the source")
        return [*lines, f"splits: {', '.join(f'{split} {count}' for split, count in self.splits.items())}"]

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, for JSON."""
        return asdict(self)


def note_skipped(found: Source, items: Sequence[Item], lost: Sequence[list[Lost]], allowed: bool) -> list[str]:
    """Return notes on the objects that are not drawn, by kind; ``lost`` are those of each item.

    Raises DataError if all objects of the source, a class or an image are skipped, unless that is ``allowed``.
    """
    kinds: dict[tuple[str, str], list[str]] = {}
    total: Counter[tuple[str, str]] = Counter()
    gone: dict[tuple[str, str], list[Lost]] = {}
    for item, skips in [(None, found.lost), *zip(items, lost, strict=True)]:
        owner = [("source", found.found), *([("image", str(item.image))] if item else [])]
        names = [name for name, _ in item.objects] if item else [skip.name for skip in skips]
        for name in names:
            total.update([*owner, *([("class", name)] if name is not None else [])])
        for skip in skips:
            kinds.setdefault((skip.thing, skip.why), []).append(skip.example)
            for key in [] if skip.in_part else [*owner, *([("class", skip.name)] if skip.name is not None else [])]:
                gone.setdefault(key, []).append(skip)
    for key in sorted(gone, key=lambda key: ("source", "class", "image").index(key[0])):
        # An image may well show nothing but a speck.
        if allowed or len(gone[key]) < total[key] or (key[0] == "image" and all(TOO_SMALL in skip for skip in gone[key])):
            continue
        reasons = Counter((skip.thing, skip.why) for skip in gone[key])
        listed = ", ".join(f"{counted(count, thing)} {why}" for (thing, why), count in reasons.items())
        where = key[1] if key[0] == "source" else f"{key[0]} '{key[1]}' in {found.found}"
        example = f"such as {gone[key][0].example}"
        raise DataError(f"all objects of {where} are skipped: {listed} ({example}); --allow-skipped converts the others")
    return [note for (thing, why), examples in kinds.items() for note in skipped(examples, thing, why)]
