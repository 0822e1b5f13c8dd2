"""What the page of a result and that of a comparison share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from vocseg.data.layout import VocFolder
from vocseg.errors import DataError, InputError
from vocseg.evaluation import charts, pictures
from vocseg.evaluation.boundary import SizeScore
from vocseg.evaluation.charts import cells, table
from vocseg.evaluation.pictures import Pictures
from vocseg.evaluation.record import Record
from vocseg.evaluation.result import Evaluation
from vocseg.evaluation.sheets import data_of, predictions_of
from vocseg.evaluation.statistics import Interval
from vocseg.evaluation.table import size_text, span
from vocseg.utils.text import percent, portable

WORST = 12
"""Images of all classes on a page."""
STYLE = (
    charts.STYLE
    + pictures.STYLE
    + """
main{max-width:1100px;margin:auto}nav{display:flex;flex-wrap:wrap;gap:.2rem 1rem;margin:1rem 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(10rem,1fr));gap:.6rem;margin:1rem 0}
.tiles div{border:1px solid var(--line);border-radius:8px;padding:.5rem .7rem;overflow-wrap:anywhere}
.tiles b{display:block;font-size:1.35rem}.tiles span{font-size:.8rem;opacity:.8}
.two{display:flex;flex-wrap:wrap;gap:1rem 2.5rem;align-items:flex-start}.two .bars td:nth-child(2){width:40%}
.two>*{flex:1 1 20rem;max-width:100%;min-width:0}.two>.own{flex:0 1 auto}.diagram{max-width:100%;height:auto}
.names :is(td,th):nth-child(2),.wrap :is(td,th):last-child{text-align:left}
.wrap td:nth-child(odd){white-space:normal}.wrap td:last-child{min-width:9rem;overflow-wrap:anywhere}
h2,h3{scroll-margin-top:1rem;overflow-wrap:anywhere}h1{overflow-wrap:anywhere}a{color:inherit;text-decoration-color:#8888}
section>p{margin:.25rem 0;overflow-wrap:anywhere}
@media(max-width:640px){.bars td:nth-child(2){width:45%}table{font-size:.78rem}th,td{padding:.15rem .22rem}
.bar{min-width:3rem}.sides td:nth-child(n+4),.sides th:nth-child(n+4){display:none}}
"""
)


def record_of(result: Evaluation) -> Record:
    if result.record is None or not len(result.record):
        raise InputError("a report needs the counts of an image or more: evaluate or score with --out")
    return result.record


def pictures_of(loaded: Sequence[Evaluation], folders: Sequence[Path], data: str | Path | None) -> tuple[Pictures | None, str]:
    """Return the pictures, or None and, as HTML, why there are none; DataError if ``data`` is not a data set."""
    try:
        masks = [predictions_of(folder, result.about) for folder, result in zip(folders, loaded, strict=True)]
    except DataError:
        return None, "<p>Images are not shown: the predicted masks are not at hand. evaluate --out keeps them.</p>"
    if data is not None:
        return Pictures(VocFolder.find(data), masks, record_of(loaded[0])), ""
    try:
        return Pictures(data_of(loaded[0].about), masks, record_of(loaded[0])), ""
    except DataError:
        return None, "<p>Images are not shown: their data set is not at hand. --data names its folder.</p>"


def figure(shown: Pictures | None, name: str, caption: str) -> str:
    return f"<p>{escape(name)}: {caption}</p>" if shown is None else shown.figure(name, caption)


def name_of(result: Evaluation) -> str:
    return portable(result.about.get("model") or result.about.get("masks") or "result")


def tiles_of(tiles: Sequence[tuple[str, str, str]]) -> str:
    """Lay out large numbers, each with what it is, and more."""
    parts = (f"<div>{escape(what)}<b>{escape(value)}</b><span>{escape(more)}</span></div>" for what, value, more in tiles)
    return f'<div class="tiles">{"".join(parts)}</div>'


def nav(sections: Mapping[str, str]) -> str:
    links = (f'<a href="#{anchor}">{text}</a>' for anchor, text in sections.items())
    return f"<nav>{''.join(links)}</nav>"


def around(interval: Interval | None) -> str:
    return f"{span(interval)} (95 %)" if interval else ""


def edges(loaded: Sequence[Evaluation], names: Sequence[str]) -> str:
    """Show the scores near boundaries and by size of one result or two."""
    parts = []
    if all(result.trimap for result in loaded):
        title = "mIoU, %, of the pixels near a boundary"
        x_title = "distance to a boundary of the truth, pixels"
        drawn = charts.curve([result.trimap for result in loaded], title, x_title, names)
        parts.append(f"<div><h3>{title}</h3>{drawn}</div>")
    if all(result.sizes for result in loaded):
        rows = [_size_row([result.sizes[place] for result in loaded]) for place in range(len(loaded[0].sizes))]
        heads = ("of the image", "", "recall %") if len(loaded) == 1 else ("of the image", "", "A %", "B %")
        parts.append(f"<div><h3>Recall of objects by size</h3>{table((*heads, 'objects'), rows, 'bars')}</div>")
    if not parts:
        return ""
    return f'<h2 id="boundaries">Boundaries and sizes</h2><div class="two">{"".join(parts)}</div>'


def _size_row(rows: Sequence[SizeScore]) -> str:
    bars = "".join(charts.bar(row.recall, side=side) for side, row in zip("ab", rows, strict=False))
    return cells(size_text(rows[0]), bars, *(percent(row.recall) for row in rows), f"{rows[0].objects:,}")


def calibration(loaded: Sequence[Evaluation], names: Sequence[str]) -> str:
    parts = []
    for place, result in enumerate(loaded):
        if (found := result.calibration) is not None:
            head = f"<h3>{escape(names[place])}</h3>" if names else ""
            line = f"ECE {percent(found.ece)} %, at boundaries {percent(found.boundary)} %, inside {percent(found.inside)} %"
            parts.append(f"<div>{head}<p>{line}</p>{charts.picture(found.diagram(), 'Reliability diagram')}</div>")
            if len(loaded) == 1:
                parts.append(f"<div><h3>Largest errors by predicted class</h3>{_class_errors(found.per_class)}</div>")
    return f'<h2 id="calibration">Calibration</h2><div class="two">{"".join(parts)}</div>' if parts else ""


def _class_errors(errors: Mapping[str, float | None], count: int = 12) -> str:
    """Show the classes of the largest calibration errors."""
    known = [(value, label, name) for label, (name, value) in enumerate(errors.items()) if value is not None]
    known = sorted(known, key=lambda row: (-row[0], row[1]))[:count]
    rows = [cells(charts.colored(name, label), charts.bar(value), percent(value)) for value, label, name in known]
    return table(("class", "", "ECE %"), rows, "bars")
