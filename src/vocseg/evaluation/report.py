"""A page about a result, or about the difference between two: one HTML file that needs no other."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vocseg.errors import OutputError
from vocseg.evaluation import charts, pictures
from vocseg.evaluation.charts import cells, colored, table
from vocseg.evaluation.compare import compare
from vocseg.evaluation.pictures import Pictures, legend
from vocseg.evaluation.record import Record
from vocseg.evaluation.report_compare import of_two
from vocseg.evaluation.report_parts import (
    STYLE,
    WORST,
    around,
    calibration,
    edges,
    figure,
    name_of,
    nav,
    pictures_of,
    record_of,
    tiles_of,
)
from vocseg.evaluation.result import Evaluation, result_files
from vocseg.evaluation.table import span
from vocseg.metrics import ClassScore
from vocseg.utils.arguments import checked
from vocseg.utils.files import refuse_to_replace, write_text
from vocseg.utils.html import page
from vocseg.utils.text import percent, portable

Integers = NDArray[np.int64]
REPORT, COMPARISON = "report.html", "comparison.html"
"""Names of the pages in the folder of results that they are about."""
FIGURES = 48
"""Images of single classes on a page."""


@checked
def report(
    results: str | Path,
    other: str | Path | None = None,
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    seed: int = 0,
) -> Path:
    """Write a page about a folder of results, or about the difference between two; return its path.

    ``results`` and ``other`` are folders that :func:`vocseg.evaluate` or :func:`vocseg.score` wrote with ``out``. The
    page is one HTML file of at most 3 MB, and loads nothing. It shows images, if their data set (``data``; by default that
    of the results) and the predicted masks are at hand. ``out``: the file; by default ``report.html`` in the folder, or
    ``comparison.html`` in that of ``other``. ``seed``: of the resamples of the comparison.

    Raises DataError for unreadable results, or if ``data`` is not what was scored; InputError if two results are not of
    the same images; OutputError if the page cannot be written.

    >>> import tempfile
    >>> from vocseg import evaluate
    >>> from vocseg.data.samples import FOLDER
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = evaluate("vocseg-s", FOLDER, "samples", device="cpu", out=folder)
    ...     report(folder, data=FOLDER).name
    'report.html'
    """
    folders = [Path(results)] if other is None else [Path(results), Path(other)]
    path = folders[-1] / (REPORT if other is None else COMPARISON) if out is None else Path(out)
    if path.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"cannot write {path}: a page ends in .html")
    refuse_to_replace([path], [file for folder in folders for file in result_files(folder)])
    loaded = [Evaluation.load(folder) for folder in folders]
    if other is None:
        title, body = _of_one(loaded[0], folders, data)
    else:
        title, body = of_two(compare(*loaded, seed=seed), loaded, folders, data)
    write_text(path, page(title, f"<main>{body}</main>", STYLE))
    return path


def _of_one(result: Evaluation, folders: Sequence[Path], data: str | Path | None) -> tuple[str, str]:
    record, scores = record_of(result), result.scores
    matrix = record.matrices.sum(0, dtype=np.int64)
    shown, why = pictures_of([result], folders, data)
    title = f"{name_of(result)} on {result.split} of {portable(result.about.get('data', 'data'))}"
    tiles = [
        ("mIoU", f"{percent(result.miou)} %", around(result.interval)),
        ("pixel accuracy", f"{percent(scores.pixel_accuracy)} %", f"mean accuracy {percent(scores.mean_accuracy)} %"),
        ("images", f"{result.images:,}", f"{scores.classes_scored} of {len(scores.per_class)} classes occur"),
    ]
    if (band := result.boundary) is not None:
        tiles.append(("boundary IoU", f"{percent(band.miou)} %", around(band.interval)))
    if (errors := result.calibration) is not None:
        tiles.append(("calibration error", f"{percent(errors.ece)} %", f"at boundaries {percent(errors.boundary)} %"))
    if result.loss is not None:
        tiles.append(("loss", f"{result.loss:.4f}", result.about.get("precision", "")))
    names = {"classes": "Classes", "confusion": "Confusion", "boundaries": "Boundaries and sizes", "calibration": "Calibration"}
    names |= {"worst": "Worst images", "each": "Class by class", "conventions": "Numbers of other tools"}
    if result.calibration is None:
        del names["calibration"]
    parts = [
        f"<h1>{escape(title)}</h1>", tiles_of(tiles), *(f"<p>Note: {escape(line)}.</p>" for line in result.warnings()), nav(names),
        f'<h2 id="classes">Classes</h2>{_class_bars(result)}', _confusion(matrix, record.classes),
        edges([result], []), calibration([result], []),
        f'<h2 id="worst">Worst images</h2><p>Of the lowest mIoU over the classes of an image.</p>{why}'
        + (f"<p>Errors: {legend(pictures.LEGEND)}</p>" if shown else ""), *_worst(record, shown),
        '<h2 id="each">Class by class</h2><p>With the images that hold the largest share of the errors of the class.</p>',
        *_each_class(result, matrix, shown), _conventions(result),
    ]  # fmt: skip
    return title, "\n".join(parts)


def _class_bars(result: Evaluation) -> str:
    intervals = result.class_intervals
    rows = [
        cells(
            f'<a href="#class-{label}">{colored(row.name, label)}</a>', charts.bar(row.iou, intervals[row.name]),
            percent(row.iou), span(intervals[row.name]),
        )
        for label, row in enumerate(result.scores.per_class)
    ]  # fmt: skip
    rows.append(
        cells("<b>mean</b>", charts.bar(result.miou, result.interval), f"<b>{percent(result.miou)}</b>", span(result.interval))
    )
    return table(("class", "", "IoU %", "95 %"), rows, "bars")


def _confusion(matrix: Integers, names: Sequence[str]) -> str:
    largest = table(("true", "predicted", "% of true", "pixels"), list(charts.confusions(matrix, names, 15)), "names")
    parts = [f"<div><h3>Largest confusions</h3>{largest}</div>"]
    if len(names) <= charts.MATRIX_CLASSES:
        shares, pixels = (charts.matrix_table(matrix, names, counts=counts) for counts in (False, True))
        more = f"<details><summary>In pixels</summary>{pixels}</details>"
        parts.insert(0, f"<div class='own'><h3>% of the pixels of each true class</h3>{shares}{more}</div>")
    return f'<h2 id="confusion">Confusion</h2><div class="two">{"".join(parts)}</div>'


def _worst(record: Record, shown: Pictures | None) -> list[str]:
    rows = sorted((row for row in record.table() if row["miou"] is not None), key=lambda row: (row["miou"], row["id"]))
    return [figure(shown, row["id"], f"mIoU {percent(row['miou'])} %") for row in rows[:WORST]]


def _each_class(result: Evaluation, matrix: Integers, shown: Pictures | None) -> list[str]:
    record = record_of(result)
    hits, unions = np.moveaxis(record.counts, 1, 0)
    each = max(1, min(3, FIGURES // max(1, len(record.classes))))
    parts = []
    for label, row in enumerate(result.scores.per_class):
        lines = [
            _class_scores(result, row),
            _shares(matrix[label], label, record.classes, "Taken for"),
            _shares(matrix[:, label], label, record.classes, "Predictions that are truly"),
        ]
        parts.append(f'<section><h3 id="class-{label}">{colored(row.name, label)}</h3>')
        parts += [f"<p>{line}</p>" for line in lines if line]
        errors = (unions - hits)[:, label]
        for place in np.argsort(-errors, kind="stable")[:each].tolist():
            if errors[place]:
                share, iou = errors[place] / errors.sum(), hits[place, label] / unions[place, label]
                parts.append(figure(shown, record.ids[place], f"{100 * share:.1f} % of the errors, IoU {percent(iou)} %"))
        parts.append("</section>")
    return parts


def _class_scores(result: Evaluation, row: ClassScore) -> str:
    values = [("IoU", row.iou), ("precision", row.precision), ("recall", row.recall)]
    values += [("boundary IoU", result.boundary.per_class[row.name])] if result.boundary else []
    values += [("calibration error", result.calibration.per_class[row.name])] if result.calibration else []
    texts = [f"{name} {percent(value)} %" for name, value in values if value is not None]
    interval = result.class_intervals[row.name]
    if interval and texts:
        texts[0] += f" ({span(interval)})"
    return ", ".join(texts)


def _shares(pixels: Integers, label: int, names: Sequence[str], head: str) -> str:
    """Name the three largest shares of other classes."""
    total, order = int(pixels.sum()), np.argsort(-pixels, kind="stable")[:4].tolist()
    shares = [(names[other], pixels[other] / total) for other in order if other != label and pixels[other]]
    found = [f"{escape(name)} {100 * share:.1f} %" for name, share in shares if share >= 0.0005]
    return f"{head}: {', '.join(found[:3])}" if found else ""


def _conventions(result: Evaluation) -> str:
    rows = [cells(escape(row.name), percent(row.miou), escape(row.differs)) for row in result.conventions()]
    return f"""<h2 id="conventions">Numbers of other tools</h2><p>The mIoU of the same predictions as they compute it.</p>
{table(("as computed by", "mIoU %", "what differs"), rows, "wrap")}"""
