"""What a conversion found and wrote."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

VOID_NAMES = {"void", "unlabeled", "unlabelled", "ignore", "ignored"}
"""Class names that usually mean void."""
MAX_NAMES = 24
"""How many class names a line of the report lists."""


@dataclass(frozen=True)
class ConvertReport:
    """Result of a conversion.

    ``kind`` is the source's format and ``found`` where its files are. ``images_per_class`` and ``pixels`` are counts
    in the order of ``classes``, ``void`` is the fraction of all pixels, ``splits`` are numbers of images.

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
        learned = next((name for name in self.classes if name.lower() in VOID_NAMES), None)
        if learned is not None:
            lines.append(f"'{learned}' is converted as a class; if it is not a class, use --void {learned}")
        return [*lines, f"splits: {', '.join(f'{split} {count}' for split, count in self.splits.items())}"]

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, for JSON."""
        return asdict(self)
