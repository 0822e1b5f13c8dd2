"""Small charts as inline SVG, and colored tables, for pages; their colors come from the page's style."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocseg.evaluation.statistics import Interval
from vocseg.utils.html import swatch
from vocseg.utils.text import percent
from vocseg.voc import PALETTE

STYLE = """
:root{--a:#4c72b0;--b:#dd8452;--gain:#2a8a4a;--loss:#c44e52;--faint:#8882}
@media(prefers-color-scheme:dark){:root{--a:#7ba0dc;--b:#e8a87c;--gain:#55b877;--loss:#e0777b}}
svg text{fill:currentColor;font:11px system-ui,sans-serif}.axis{stroke:currentColor;fill:none}.grid{stroke:var(--line);fill:none}
.bar{display:block;width:100%;min-width:5rem;height:1.1em}.bar path{vector-effect:non-scaling-stroke}
.whisker{stroke:currentColor;stroke-width:1.5;fill:none}
.fill-a{fill:var(--a)}.fill-b{fill:var(--b)}.fill-gain{fill:var(--gain)}.fill-loss{fill:var(--loss)}
.line-a{stroke:var(--a);fill:none;stroke-width:2}.line-b{stroke:var(--b);fill:none;stroke-width:2}
.curve{display:block;width:100%;max-width:28rem;height:auto}
.bars{width:100%}.bars td:nth-child(2){width:70%}
.matrix{font-size:.75rem}.matrix td,.matrix th{padding:.15rem .25rem}
.matrix thead th{writing-mode:vertical-rl;transform:rotate(180deg);text-align:left;vertical-align:bottom}
.matrix thead th:first-child{writing-mode:horizontal-tb;transform:none}
.matrix th:first-child{position:sticky;left:0;background:Canvas;font-weight:normal}
"""
MATRIX_CLASSES = 40
"""Most classes of a confusion matrix; of more only the largest confusions are listed."""


def bar(value: float | None, interval: Interval | None = None, side: str = "a") -> str:
    """Draw a bar of a fraction in 0..1, with its interval; it takes the width that there is."""
    shapes = '<path class="grid" d="M25 0v10M50 0v10M75 0v10"/>'
    if value is not None:
        shapes += f'<rect class="fill-{side}" y="2" width="{100 * value:.1f}" height="6"/>'
    return _bar(shapes + ("" if interval is None else _whisker(100 * interval.low, 100 * interval.high)))


def difference_bar(value: float | None, interval: Interval | None, limit: float) -> str:
    """Draw a bar of a difference from the middle, -``limit`` to ``limit``, with its interval."""
    places = [50 + 50 * max(-1.0, min(1.0, x / limit)) if limit else 50 for x in (value or 0.0, *(interval or (0.0, 0.0)))]
    shapes = '<path class="grid" d="M25 0v10M75 0v10"/><path class="axis" d="M50 0v10"/>'
    low, high = sorted((50.0, places[0]))
    shapes += f'<rect class="fill-{"gain" if places[0] > 50 else "loss"}" x="{low:.1f}" y="2" width="{high - low:.1f}" height="6"/>'
    return _bar(shapes + ("" if interval is None else _whisker(*places[1:])))


def _bar(shapes: str) -> str:
    return f'<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">{shapes}</svg>'


def _whisker(low: float, high: float) -> str:
    return f'<path class="whisker" d="M{low:.1f} 5H{high:.1f}M{low:.1f} 3v4M{high:.1f} 3v4"/>'


def curve(series: Sequence[Mapping[int, float | None]], title: str, x_title: str, names: Sequence[str] = ()) -> str:
    """Draw one or two series of fractions over the same whole numbers, evenly spaced; ``names``: a legend."""
    left, top, width, height = 40, 12, 300, 160
    steps = list(series[0])
    xs = [left + width * (place + 0.5) / max(1, len(steps)) for place in range(len(steps))]
    shapes = [
        f'<path class="grid" d="M{left} {top + height * part / 4:.0f}h{width}"/>'
        f'<text x="{left - 6}" y="{top + height * part / 4 + 4:.0f}" text-anchor="end">{100 - 25 * part}</text>'
        for part in range(5)
    ]
    bottom = top + height
    shapes += [f'<text x="{x:.0f}" y="{bottom + 16}" text-anchor="middle">{step}</text>' for x, step in zip(xs, steps, strict=True)]
    for side, values in zip("ab", series, strict=False):
        points = [(x, bottom - height * value) for x, value in zip(xs, values.values(), strict=True) if value is not None]
        shapes.append(f'<polyline class="line-{side}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>')
        shapes += [f'<circle class="fill-{side}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points]
    for place, name in enumerate(names):
        x = left + place * width / 2
        shapes.append(f'<rect class="fill-{"ab"[place]}" x="{x:.0f}" y="{bottom + 40}" width="10" height="10"/>')
        shapes.append(f'<text x="{x + 15:.0f}" y="{bottom + 49}">{escape(name)}</text>')
    shapes.append(f'<text x="{left + width / 2}" y="{bottom + 32}" text-anchor="middle">{escape(x_title)}</text>')
    size = f"0 0 {left + width + 10} {bottom + (58 if names else 38)}"
    return f'<svg class="curve" viewBox="{size}" role="img"><title>{escape(title)}</title>{"".join(shapes)}</svg>'


def matrix_table(matrix: NDArray[np.int64], names: Sequence[str], counts: bool) -> str:
    """Lay out a confusion matrix: shares of each true class in percent, or pixels; cells are colored by their share."""
    sums = matrix.sum(1)
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    rows = []
    for label, name in enumerate(names):
        row = []
        for other, pixels in enumerate(matrix[label].tolist()):
            share = pixels / int(sums[label]) if pixels else 0.0
            text = (f"{pixels:,}" if counts else f"{100 * share:.0f}" if share >= 0.005 else "") if pixels else ""
            color = "76 114 176" if label == other else "196 78 82"
            shade = f' style="background:rgb({color}/{0.8 * share**0.5:.2f})"' if share >= 0.001 else ""
            row.append(f"<td{shade}>{text}</td>")
        rows.append(f'<tr><th scope="row">{colored(name, label)}</th>{"".join(row)}</tr>')
    corner = '<th scope="col">true \\ predicted</th>'
    parts = f"<thead><tr>{corner}{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<div class="scroll"><table class="matrix">{parts}</table></div>'


def colored(name: str, label: int) -> str:
    """Return a class's name after its color."""
    return f"{swatch(PALETTE[label % len(PALETTE)])}{escape(name)}"


def confusions(matrix: NDArray[np.int64], names: Sequence[str], count: int) -> Iterator[str]:
    """List the largest confusions of different classes: true class, predicted class, share of the true class, pixels."""
    wrong = matrix * (1 - np.eye(len(matrix), dtype=np.int64))
    for place in np.argsort(-wrong.ravel(), kind="stable")[:count].tolist():
        label, other = divmod(place, len(matrix))
        if pixels := int(wrong[label, other]):
            share = percent(pixels / int(matrix[label].sum()))
            yield cells(colored(names[label], label), colored(names[other], other), share, f"{pixels:,}")


def table(heads: Sequence[str], rows: Sequence[str], kind: str = "") -> str:
    """Lay out rows of cells, each HTML, under plain headings; it scrolls sideways if it is too wide."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def cells(*texts: Any) -> str:
    """Return cells of HTML."""
    return "".join(f"<td>{text}</td>" for text in texts)


def picture(svg: str, title: str) -> str:
    """Return an ``img`` element with a whole SVG file inside, so that its style stays its own."""
    text = base64.b64encode(svg.encode()).decode()
    return f'<img class="diagram" alt="{escape(title)}" src="data:image/svg+xml;base64,{text}">'
