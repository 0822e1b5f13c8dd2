"""The page of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from vocseg.evaluation import charts, pictures
from vocseg.evaluation.charts import cells, colored, table
from vocseg.evaluation.compare import Comparison, Difference
from vocseg.evaluation.pictures import legend
from vocseg.evaluation.report_parts import WORST, around, calibration, edges, figure, name_of, nav, pictures_of, tiles_of
from vocseg.evaluation.result import Evaluation
from vocseg.evaluation.table import points, signed_span
from vocseg.utils.text import percent, portable


def of_two(found: Comparison, loaded: Sequence[Evaluation], folders: Sequence[Path], data: str | Path | None) -> tuple[str, str]:
    """Return title and body of the page."""
    names = [f"{side}: {name_of(result)} ({portable(folder)})" for side, result, folder in zip("AB", loaded, folders, strict=True)]
    shown, why = pictures_of(loaded, folders, data)
    parts = [
        f"<h1>{escape(names[0])}<br>{escape(names[1])}</h1>", _summary(found, loaded),
        nav({"classes": "Classes", "boundaries": "Boundaries and sizes", "gains": "Gains", "losses": "Losses"}),
        f'<h2 id="classes">Classes</h2><p>Difference in IoU, B - A, points.</p>{_classes(found)}',
        edges(loaded, ["A", "B"]), calibration(loaded, names),
    ]  # fmt: skip
    gains = [row for row in found.images if row[1] > 0][:WORST]
    losses = [row for row in reversed(found.images) if row[1] < 0][:WORST]
    for anchor, text, chosen in (("gains", "B does better", gains), ("losses", "A does better", losses)):
        parts.append(f'<h2 id="{anchor}">Images on which {text}</h2>{why}')
        if shown and chosen:
            parts.append(f"<p>Change: {legend(pictures.CHANGE_LEGEND)}</p>")
        parts += [figure(shown, name, f"{points(effect)} points of mIoU") for name, effect in chosen] or ["<p>None.</p>"]
    return " and ".join(names), "\n".join(parts)


def _summary(found: Comparison, loaded: Sequence[Evaluation]) -> str:
    split = f"{loaded[0].split} of {portable(loaded[0].about.get('data', 'data'))}"
    tiles = [
        ("B - A, points", points(found.miou.difference), f"{signed_span(found.miou.interval)} (95 %)"),
        ("p-value", f"{found.p_value:.4f}", "sign-flip test"),
        ("images", f"{len(found.images):,}", f"{split}, paired"),
    ]
    for side, result in zip("AB", loaded, strict=True):
        tiles.append((f"mIoU of {side}", f"{percent(result.miou)} %", around(result.interval)))
        if result.boundary is not None:
            tiles.append((f"boundary IoU of {side}", f"{percent(result.boundary.miou)} %", around(result.boundary.interval)))
    return tiles_of(tiles)


def _classes(found: Comparison) -> str:
    limit = max((abs(x) for row in found.per_class.values() for x in (row.interval or (row.difference or 0.0,))), default=0.0)

    def row_of(name: str, row: Difference) -> str:
        drawn = charts.difference_bar(row.difference, row.interval, limit)
        numbers = (points(row.difference), signed_span(row.interval), percent(row.first), percent(row.second))
        return cells(name, drawn, *numbers)

    rows = [row_of(colored(name, label), row) for label, (name, row) in enumerate(found.per_class.items())]
    return table(("class", "", "B - A", "95 %", "A %", "B %"), [*rows, row_of("<b>mean</b>", found.miou)], "bars sides")
