"""The tables of an evaluation and of a comparison for the terminal."""

from __future__ import annotations

from rich.console import Group
from rich.table import Column, Table
from rich.text import Text

from vocseg.evaluation.boundary import SizeScore
from vocseg.evaluation.compare import Comparison
from vocseg.evaluation.result import Evaluation
from vocseg.evaluation.statistics import FEW_IMAGES, Interval
from vocseg.utils.text import counted, percent

COMPARED = ("class", "A IoU %", "B IoU %", "B - A", "95 % interval")


def _title(result: Evaluation) -> str:
    about = result.about
    precision = f" in {about['precision']}" if "precision" in about else ""
    data = f" of {about['data']}" if "data" in about else ""
    return f"{about.get('model', about.get('masks'))}{precision} on {result.split}{data}"


def evaluation_report(result: Evaluation, title: str | None = None) -> Group:
    """Lay out the per-class table and the summary of an evaluation; print it with ``crop=False``, so that no line is cut.

    ``title``: by default what was scored.
    """
    title = _title(result) if title is None else title
    scores = result.scores
    intervals = result.class_intervals
    names = ("IoU %", "95 % interval", "precision %", "recall %", "pixels")
    table = Table("class", *(Column(name, justify="right") for name in names), header_style="bold")
    for row in scores.per_class:
        cells = (percent(row.iou), span(intervals[row.name]), percent(row.precision), percent(row.recall), f"{row.true_pixels:,}")
        table.add_row(row.name, *cells)
    around = f" (95 % interval {span(result.interval)})" if result.interval else ""
    lines = [
        f"  pixel accuracy {percent(scores.pixel_accuracy)} %" + ("" if result.loss is None else f"  loss {result.loss:.4f}"),
        f"mean accuracy {percent(scores.mean_accuracy)} %  frequency-weighted IoU {percent(scores.frequency_weighted_iou)} %",
        f"{counted(result.images, 'image')} of {result.split}, mean over {scores.classes_scored} of {len(scores.per_class)} "
        f"classes, {result.seconds:.1f} s",
    ]
    lines += _more_scores(result)
    if result.about.get("tta"):
        lines.append(result.about["tta"])
    if result.about.get("not_scored"):
        lines.append(f"not predicted by the model, so not scored: {result.about['not_scored']}")
    lines += [f"note: {line}" for line in result.warnings()]
    head = Text(f"mIoU {percent(scores.miou)} %{around}", "bold", no_wrap=True, overflow="ignore")
    return Group(Text(title, no_wrap=True, overflow="ignore"), table, head.append("\n".join(lines), style="not bold"))


def conventions_report(result: Evaluation) -> Table:
    """Lay out the mIoU as other tools compute it; print it with ``crop=False``."""
    numbers = (Column(name, justify="right", no_wrap=True) for name in ("mIoU %", "gap"))
    table = Table(Column("as computed by", no_wrap=True), *numbers, "what differs", header_style="bold")
    for row in result.conventions():
        gap = None if row.miou is None or result.miou is None else row.miou - result.miou
        table.add_row(row.name, percent(row.miou), points(gap), row.differs)
    return table


def _more_scores(result: Evaluation) -> list[str]:
    """Say in a line each: boundaries, sizes, calibration, a fitted temperature."""
    lines = []
    if (edges := result.boundary) is not None:
        low, high = edges.width
        pixels = counted(low, "pixel") if low == high else f"{low} to {high} pixels"
        around = f" ({span(edges.interval)})" if edges.interval else ""
        lines.append(f"boundary IoU {percent(edges.miou)} %{around}, band of {pixels}, 2 % of the diagonal")
    if result.trimap:
        distances, values = ", ".join(map(str, result.trimap)), "  ".join(map(percent, result.trimap.values()))
        lines.append(f"mIoU within {distances} pixels of a boundary: {values} %")
    if result.sizes:
        rows = (f"{percent(row.recall)} % ({size_text(row)})" for row in result.sizes)
        lines.append(f"recall of objects by share of the image: {', '.join(rows)}")
    if (errors := result.calibration) is not None:
        parts = f"{percent(errors.boundary)} % at boundaries, {percent(errors.inside)} % inside"
        lines.append(f"calibration error (ECE) {percent(errors.ece)} %, {parts}")
    if (fit := result.temperature) is not None:
        losses = f"loss {fit.before:.4f} before, {fit.after:.4f} after"
        lines.append(f"temperature {fit.temperature:.3f} fitted on {fit.pixels:,} pixels: {losses}")
    return lines


def size_text(row: SizeScore) -> str:
    """Name a range of sizes.

    >>> size_text(SizeScore(0.01, 0.05, 3, None, None, None)), size_text(SizeScore(0.2, 1, 3, None, None, None))
    ('1 to 5 %', 'above 20 %')
    """
    if row.high == 1:
        return f"above {100 * row.low:g} %"
    return f"{100 * row.low:g} to {100 * row.high:g} %"


def span(interval: Interval | None) -> str:
    """Format an interval of fractions in percent.

    >>> span(Interval(0.612, 0.7049))
    '61.2 to 70.5'
    """
    return "-" if interval is None else f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"


def comparison_report(comparison: Comparison) -> Group:
    """Lay out a comparison, in points (percent): mIoU, every class, the images that changed most."""
    table = Table(*(Column(name, justify="left" if name == "class" else "right") for name in COMPARED), header_style="bold")
    for name, row in comparison.per_class.items():
        table.add_row(name, percent(row.first), percent(row.second), points(row.difference), signed_span(row.interval))
    whole = comparison.miou
    table.add_section()
    table.add_row(
        "mIoU", percent(whole.first), percent(whole.second), points(whole.difference), signed_span(whole.interval), style="bold"
    )
    number = len(comparison.images)
    lines = [
        f"B - A: {points(whole.difference)} points of mIoU, 95 % interval {signed_span(whole.interval)}, "
        f"p = {comparison.p_value:.4f}",
        f"{counted(number, 'image')}, paired; the interval is about the choice of images"
        + ", and of runs" * (max(comparison.runs) > 1),
    ]
    if number < FEW_IMAGES:
        lines.append(f"note: {counted(number, 'image')} are few: the interval covers the true difference less often than 95 %")
    if any(value is not None for value in comparison.spread):
        each = (
            f"{side} {percent(value)} over {counted(count, 'run')}"
            for side, value, count in zip("AB", comparison.spread, comparison.runs, strict=True)
        )
        lines.append("standard deviation of mIoU: " + ", ".join(each))
    for title, rows in (("gained most", comparison.images[:3]), ("lost most", comparison.images[:-4:-1])):
        moved = [f"{name} {100 * effect:+.2f}" for name, effect in rows if (effect > 0) == (title == "gained most") and effect]
        if moved:
            lines.append(f"{title}: {', '.join(moved)}")
    heads = [Text(f"{side}: {name}", no_wrap=True, overflow="ignore") for side, name in zip("AB", comparison.names, strict=True)]
    return Group(*heads, table, Text("\n".join(lines), no_wrap=True, overflow="ignore"))


def points(value: float | None) -> str:
    """Format a difference of fractions in percent, with its sign.

    >>> points(0.0123), points(-1e-16), points(None)
    ('+1.23', '+0.00', '-')
    """
    return "-" if value is None else f"{100 * value:+z.2f}"


def signed_span(interval: Interval | None) -> str:
    """Format an interval of a difference in percent."""
    return "-" if interval is None else f"{points(interval.low)} to {points(interval.high)}"
