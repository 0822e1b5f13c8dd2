"""Diagnoses, repairs and statistics as rich text for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from vocseg import voc
from vocseg.data.split_summary import SplitSummary
from vocseg.doctor.examine import Diagnosis
from vocseg.doctor.issues import SEVERITIES, Finding
from vocseg.doctor.leaks import role
from vocseg.doctor.repair import LOG, Repairs
from vocseg.doctor.stats import Statistics
from vocseg.utils.text import counted

STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
MAX_CASES = 3
"""Cases of a finding that are listed."""
MAX_SIZES = 5
"""Image sizes that are listed."""
INDENT = " " * 10


def headline(diagnosis: Diagnosis) -> str:
    """Summarize a diagnosis in one line: folder, classes, splits, pairs and speed."""
    # Point out default names, which may be another data set's.
    named = "" if (diagnosis.survey.root / voc.CLASSES_FILE).exists() or diagnosis.legend.renamed else " (VOC's; no classes.txt)"
    speed = diagnosis.pairs / max(diagnosis.seconds, 1e-9)
    return (
        f"{diagnosis.survey.root}: {counted(len(diagnosis.legend.classes), 'class')}{named}, "
        f"{counted(len(diagnosis.survey.splits), 'split')}, {counted(diagnosis.pairs, 'image-mask pair')} "
        f"in {diagnosis.seconds:.1f} s ({speed:.0f} per second)"
    )


def verdict(diagnosis: Diagnosis) -> str:
    """Count the kinds of findings of each severity, in one line."""
    return ", ".join(counted(diagnosis.count(severity), severity) for severity in SEVERITIES)


def diagnosis_report(diagnosis: Diagnosis, width: int) -> Group:
    """Show the class table, each finding with its first files and the advice, and the verdict."""
    parts: list[RenderableType] = [_line(headline(diagnosis))]
    if diagnosis.pairs:
        kinds = Counter(facts.kind for facts in diagnosis.masks.values())
        parts.append(_line("masks: " + ", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common())))
        parts.append(_class_table(diagnosis, width))
    parts += [line for finding in diagnosis.findings for line in _finding_lines(finding)]
    return Group(*parts, _line(verdict(diagnosis), "bold"))


def weighted_split(diagnosis: Diagnosis) -> str | None:
    """Return the split whose class weights are shown: ``train``, or the first non-empty one for training."""
    names = [name for name, summary in diagnosis.summaries.items() if summary.images and role(name) != "scored"]
    return "train" if "train" in names else next(iter(names), None)


def class_rows(diagnosis: Diagnosis) -> Iterator[tuple[str, list[tuple[str, str]], str]]:
    """Yield name, images and share of pixels in each non-empty split, and weight, for each class, void, and all."""
    weighted = weighted_split(diagnosis)
    weights = [] if weighted is None else diagnosis.summaries[weighted].class_weights().tolist()
    summaries = [summary for summary in diagnosis.summaries.values() if summary.images]
    for label, name in [*enumerate(diagnosis.legend.classes), (voc.VOID, "void")]:
        cells = [(f"{int(summary.images_per_class[label]):,}", _pixel_share(summary, label)) for summary in summaries]
        yield name, cells, f"{weights[label]:.3f}" if label < len(weights) else ""
    yield "all", [(f"{summary.images:,}", "") for summary in summaries], ""


def _pixel_share(summary: SplitSummary, label: int) -> str:
    return f"{int(summary.pixels[label]) / max(1, int(summary.pixels.sum())):.2%}"


def _class_table(diagnosis: Diagnosis, width: int) -> Table:
    splits = [name for name, summary in diagnosis.summaries.items() if summary.images]
    weighted = weighted_split(diagnosis)
    shares = 24 + 16 * len(splits) <= width
    title = f"images{', share of pixels' if shares else ''}{f'; class weights for {weighted}' if weighted else ''}"
    table = _table("class", splits + (["weight"] if weighted else []), title)
    for name, cells, weight in class_rows(diagnosis):
        texts = [f"{images} {share:>6}" if shares else images for images, share in cells]
        table.add_row(name, *texts, *([weight] if weighted else []), end_section=name == "void")
    return table


def _table(first: str, numbers: list[str], title: str | None = None) -> Table:
    table = Table(header_style="bold", title=title, title_justify="left", title_style="", box=SIMPLE_HEAD)
    table.pad_edge, table.collapse_padding = False, True
    table.add_column(first, no_wrap=True)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    return table


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ignore")


def _finding_lines(finding: Finding) -> Iterator[Text]:
    head = _line("")
    head.append(f"{finding.severity:<8}", style=STYLES[finding.severity])
    head.append(f"{finding.text} ").append(f"({finding.kind}: {len(finding.cases):,})", style="dim")
    yield head
    for case in finding.cases[:MAX_CASES]:
        yield _line(f"{INDENT}{case.file}  {case.detail}".rstrip())
    if len(finding.cases) > MAX_CASES:
        yield _line(f"{INDENT}and {len(finding.cases) - MAX_CASES:,} more (--json lists all)")
    yield _line(f"{INDENT}→ {finding.advice}", "italic")


def repairs_report(repairs: Repairs, out: str, after: Diagnosis) -> Group:
    """Show what a repair changed and skipped, and the remaining findings ``after`` it in the copy ``out``."""
    steps = Counter(change if file.endswith(".png") else f"{file}: {change}" for file, change in repairs.changes)
    lines = [f"repaired copy in {out}: {counted(repairs.copied, 'mask')} unchanged"]
    lines += [f"  {number:,} x {change}" for change, number in steps.items()]
    if repairs.skipped:
        lines.append(f"  {len(repairs.skipped):,} skipped:")
        lines += [f"    {file}: {reason}" for file, reason in repairs.skipped[:MAX_CASES]]
    if len(repairs.skipped) > MAX_CASES:
        lines.append(f"    and {len(repairs.skipped) - MAX_CASES:,} more")
    lines += [f"  all changes are listed in {out}/{LOG}", f"the copy: {verdict(after)}"]
    remaining = [finding for finding in after.findings if finding.severity != "note"]
    lines += [f"  {finding.severity}: {finding.text} ({finding.kind}: {len(finding.cases)})" for finding in remaining]
    return Group(*map(_line, lines))


def statistics_report(statistics: Statistics, width: int) -> Group:
    """Show the classes of a split, what they are shown with, and the sizes of its images."""
    values = statistics.to_dict()
    companions = 2 if width >= 90 else 1
    table = _table("class", ["images", "pixels", "regions", "mean region"])
    table.add_column("often with", no_wrap=True)
    for name, row in values["per_class"].items():
        others = sorted(row["with"].items(), key=lambda item: -item[1])
        others = [(other, number) for other, number in others if number and other != "background"][:companions]
        table.add_row(
            name,
            f"{row['images']:,}",
            f"{row['pixel_share']:.2%}",
            f"{row['regions']:,}",
            "-" if row["mean_region"] is None else f"{row['mean_region']:.2%}",
            "" if name == "background" else ", ".join(f"{other} {number / row['images']:.0%}" for other, number in others),
        )
    sizes = [f"{size} ({number:,})" for size, number in values["image_sizes"].items()]
    more = f" and {len(sizes) - MAX_SIZES:,} more" if len(sizes) > MAX_SIZES else ""
    return Group(
        _line(
            f"{statistics.root} {values['split']}: {counted(values['images'], 'image')}, masks in {values['mask_dir']}, "
            f"{values['void_share']:.2%} void"
        ),
        table,
        _line(f"sizes HxW: {', '.join(sizes[:MAX_SIZES])}{more}"),
    )
