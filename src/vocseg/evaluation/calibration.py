"""How far probabilities are from how often they are right, from the counts of each image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocseg.evaluation.counts import BINS, STEPS
from vocseg.utils.files import MARK, write_text


@dataclass(frozen=True)
class ConfidenceBin:
    """The pixels whose predicted class has a probability from ``low`` to ``high``.

    ``confidence``: mean probability; ``accuracy``: share of right pixels; None without pixels.
    """

    low: float
    high: float
    pixels: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Calibration:
    """Expected calibration error (ECE), in 0..1: mean distance between confidence and accuracy, over all pixels.

    In 15 bins of confidence, the probability of the predicted class (Guo et al., "On calibration of modern neural
    networks", 2017); each distance is that of the sums over all images. ``boundary`` and ``inside``: ECE of the pixels
    within 8 pixels of a boundary of the truth, and of the others. ``per_class``: ECE by predicted class. ``bins``: the
    reliability diagram.

    >>> import vocseg
    >>> from vocseg.data.samples import FOLDER
    >>> result = vocseg.evaluate("vocseg-s", FOLDER, "samples", device="cpu")
    >>> 0 < result.calibration.ece < 0.1, len(result.calibration.bins)
    (True, 15)
    """

    ece: float | None
    boundary: float | None
    inside: float | None
    per_class: dict[str, float | None]
    bins: tuple[ConfidenceBin, ...]

    @classmethod
    def of(cls, counts: NDArray[np.integer[Any]], classes: Sequence[str]) -> Calibration:
        """Compute the errors of counts ``calibration``."""
        total = counts.sum(0, dtype=np.int64)
        bins = [
            ConfidenceBin(
                place / BINS, (place + 1) / BINS, pixels, *((steps / STEPS / pixels, right / pixels) if pixels else (None, None))
            )
            for place, (pixels, right, steps) in enumerate(total.sum((0, 1)).tolist())
        ]
        names = {name: _error(table) for name, table in zip(classes, total.sum(0), strict=True)}
        boundary, inside = total.sum(1)
        return cls(_error(total.sum((0, 1))), _error(boundary), _error(inside), names, tuple(bins))

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        return asdict(self) | {"bins": [asdict(row) for row in self.bins]}

    def diagram(self) -> str:
        """Draw the reliability diagram: accuracy of each bin over its confidence, with the share of the pixels; as SVG."""
        return _diagram(self)

    def save_diagram(self, path: str | Path) -> None:
        """Write the reliability diagram as SVG; may raise OutputError."""
        write_text(Path(path), self.diagram())


@dataclass(frozen=True)
class TemperatureFit:
    """A temperature, and what it does to the mean cross entropy of the ``pixels`` that it was fitted on.

    ``before``: with the temperature that the model had; ``after``: with the new one.
    """

    temperature: float
    before: float
    after: float
    pixels: int

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        return asdict(self)


def _error(table: NDArray[np.int64]) -> float | None:
    """Return the ECE of pixels, right ones and summed confidence by bin, bins x 3."""
    pixels, right, steps = table.T
    total = int(pixels.sum())
    # An integer sum of distances: exact, in any order.
    return int(np.abs(right * STEPS - steps).sum()) / STEPS / total if total else None


SIDE, LEFT, TOP, FOOT = 300, 50, 30, 100
"""Of the diagram: side of the square, left and upper margin, height of the histogram below, pixels."""


def _diagram(calibration: Calibration) -> str:
    error = "-" if calibration.ece is None else f"{100 * calibration.ece:.2f} %"
    width, height = LEFT + SIDE + 20, TOP + SIDE + FOOT + 60
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui,sans-serif" font-size="11" role="img"><!-- {MARK.decode()} -->',
        f"<title>Reliability diagram, calibration error {error}</title>",
        "<style>svg{color:#222;background:#fff}@media(prefers-color-scheme:dark){svg{color:#ddd;background:#1b1b1b}}"
        "text{fill:currentColor}.axis{stroke:currentColor;fill:none}</style>",
        f'<text x="{LEFT}" y="18" font-size="13">Calibration error (ECE) {error}</text>',
        *_bars(calibration.bins),
        f'<path class="axis" d="M{LEFT} {TOP}h{SIDE}v{SIDE}h-{SIDE}z"/>',
        f'<path class="axis" stroke-dasharray="4 3" d="M{LEFT} {TOP + SIDE}l{SIDE} -{SIDE}"/>',
        f'<path class="axis" d="M{LEFT} {TOP + SIDE + FOOT + 20}h{SIDE}"/>',
    ]
    for tick in range(0, 101, 20):
        x, y = LEFT + SIDE * tick / 100, TOP + SIDE * (1 - tick / 100)
        lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{tick}</text>')
        lines.append(f'<text x="{x:.0f}" y="{height - 24}" text-anchor="middle">{tick}</text>')
    middle, bottom = LEFT + SIDE / 2, TOP + SIDE
    lines += [
        f'<text x="{middle}" y="{height - 8}" text-anchor="middle">probability of the predicted class, %</text>',
        f'<text transform="translate(14 {TOP + SIDE / 2}) rotate(-90)" text-anchor="middle">right pixels, %</text>',
        f'<text transform="translate(14 {bottom + 20 + FOOT / 2}) rotate(-90)" text-anchor="middle">pixels</text>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _bars(bins: Sequence[ConfidenceBin]) -> Iterator[str]:
    """Draw accuracy above, the distance to the confidence over it, and the share of the pixels below."""
    most, step = max(1, *(row.pixels for row in bins)), SIDE / len(bins)
    base = TOP + SIDE + 20 + FOOT
    for row in bins:
        if row.accuracy is None or row.confidence is None:
            continue
        x, ends = LEFT + SIDE * row.low, sorted((row.accuracy, row.confidence))
        tall, gap, share = SIDE * row.accuracy, SIDE * (ends[1] - ends[0]), FOOT * row.pixels / most
        place = f'x="{x:.1f}" width="{step:.1f}"'
        yield f'<rect {place} y="{TOP + SIDE - tall:.1f}" height="{tall:.1f}" fill="#4c72b0"/>'
        yield f'<rect {place} y="{TOP + SIDE - SIDE * ends[1]:.1f}" height="{gap:.1f}" fill="#c44e52" fill-opacity=".5"/>'
        yield f'<rect {place} y="{base - share:.1f}" height="{share:.1f}" fill="#888"/>'
