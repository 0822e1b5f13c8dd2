"""Diagnoses, repairs and statistics as rich text for a terminal; diagnoses also as an HTML page with example images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from html import escape
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from vocseg import voc
from vocseg.doctor.examine import Diagnosis
from vocseg.doctor.issues import SEVERITIES, Case, Finding
from vocseg.doctor.leaks import role
from vocseg.doctor.repair import LOG, Repairs
from vocseg.doctor.stats import Statistics
from vocseg.doctor.views import overlay_and_mask, read_labels
from vocseg.draw import thumbnail
from vocseg.utils.files import write_text
from vocseg.utils.html import embedded, page, swatch
from vocseg.utils.text import counted, portable

STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
MAX_CASES = 3
"""Cases of a finding that the terminal shows."""
MAX_FILES, MAX_EXAMPLES = 200, 6
"""Cases of a finding that the page lists, and those that it shows."""
EXAMPLE_SIDE = 260
"""Longer side of an example, in pixels."""
MAX_SIZES = 5
"""Image sizes that are listed."""
INDENT = " " * 10


def headline(diagnosis: Diagnosis, folder: object) -> str:
    """Summarize a diagnosis in one line: the data set's folder, classes, splits, pairs and speed."""
    # Point out default names, which may be another data set's.
    named = "" if (diagnosis.survey.root / voc.CLASSES_FILE).exists() or diagnosis.legend.renamed else " (VOC's; no classes.txt)"
    return (
        f"{folder}: {counted(len(diagnosis.legend.classes), 'class')}{named}, "
        f"{counted(len(diagnosis.survey.splits), 'split')}, {counted(diagnosis.pairs, 'image-mask pair')} "
        f"in {diagnosis.seconds:.1f} s ({diagnosis.pairs / max(diagnosis.seconds, 1e-9):.0f} per second)"
    )


def verdict(diagnosis: Diagnosis) -> str:
    """Count the kinds of findings of each severity, in one line."""
    return ", ".join(counted(diagnosis.count(severity), severity) for severity in SEVERITIES)


def diagnosis_report(diagnosis: Diagnosis, width: int) -> Group:
    """Show the class table, each finding with its first files and the advice, and the verdict."""
    parts: list[RenderableType] = [_line(headline(diagnosis, diagnosis.survey.root))]
    if diagnosis.pairs:
        kinds = Counter(facts.kind for facts in diagnosis.masks.values())
        parts.append(_line("masks: " + ", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common())))
        parts.append(_class_table(diagnosis, width))
    parts += [line for finding in diagnosis.findings for line in _finding_lines(finding)]
    return Group(*parts, _line(verdict(diagnosis), "bold"))


def _weighted_split(diagnosis: Diagnosis) -> str | None:
    """Return the split whose class weights are shown: ``train``, or the first non-empty one for training."""
    names = [name for name, summary in diagnosis.summaries.items() if summary.images and role(name) != "scored"]
    return "train" if "train" in names else next(iter(names), None)


def _class_rows(diagnosis: Diagnosis) -> Iterator[tuple[str, list[tuple[str, str]], list[str]]]:
    """Yield name, images and share of pixels in each non-empty split, and weight, for each class, void, and all."""
    weighted = _weighted_split(diagnosis)
    weights = [] if weighted is None else diagnosis.summaries[weighted].class_weights().tolist()
    summaries = [summary for summary in diagnosis.summaries.values() if summary.images]
    totals = [max(1, int(summary.pixels.sum())) for summary in summaries]
    for label, name in [*enumerate(diagnosis.legend.classes), (voc.VOID, "void")]:
        cells = [
            (f"{int(summary.images_per_class[label]):,}", f"{int(summary.pixels[label]) / total:.2%}")
            for summary, total in zip(summaries, totals, strict=True)
        ]
        yield name, cells, [f"{weights[label]:.3f}" if label < len(weights) else ""] if weighted else []
    yield "all", [(f"{summary.images:,}", "") for summary in summaries], [""] if weighted else []


def _class_table(diagnosis: Diagnosis, width: int) -> Table:
    splits = [name for name, summary in diagnosis.summaries.items() if summary.images]
    weighted = _weighted_split(diagnosis)
    shares = 24 + 16 * len(splits) <= width
    title = f"images{', share of pixels' if shares else ''}{f'; class weights for {weighted}' if weighted else ''}"
    table = _table("class", splits + (["weight"] if weighted else []), _line(title))
    for name, cells, weight in _class_rows(diagnosis):
        texts = [f"{images} {share:>6}" if shares else images for images, share in cells]
        table.add_row(name, *texts, *weight, end_section=name == "void")
    return table


def _table(first: str, numbers: list[str], title: Text | None = None) -> Table:
    table = Table(header_style="bold", title=title, title_justify="left", title_style="", box=SIMPLE_HEAD, pad_edge=False)
    table.collapse_padding = True
    table.add_column(first, no_wrap=True)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    return table


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ignore")


def _finding_lines(finding: Finding) -> Iterator[Text]:
    head = _line("").append(f"{finding.severity:<8}", style=STYLES[finding.severity])
    yield head.append(f"{finding.text} ").append(f"({finding.kind}: {len(finding.cases):,})", style="dim")
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
    table = _table("class", ["images", "pixels", "regions", "mean region"])
    table.add_column("often with", no_wrap=True)
    for name, row in values["per_class"].items():
        others = [(other, number) for other, number in row["with"].items() if number and "background" not in (other, name)]
        others = sorted(others, key=lambda item: -item[1])[: 2 if width >= 90 else 1]
        table.add_row(
            name,
            f"{row['images']:,}",
            f"{row['pixel_share']:.2%}",
            f"{row['regions']:,}",
            "-" if row["mean_region"] is None else f"{row['mean_region']:.2%}",
            ", ".join(f"{other} {number / row['images']:.0%}" for other, number in others),
        )
    sizes = [f"{size} ({number:,})" for size, number in values["image_sizes"].items()]
    more = f" and {len(sizes) - MAX_SIZES:,} more" if len(sizes) > MAX_SIZES else ""
    images = f"{counted(values['images'], 'image')}, masks in {values['mask_dir']}"
    head = f"{statistics.root} {values['split']}: {images}, {values['void_share']:.2%} void"
    return Group(_line(head), table, _line(f"sizes HxW: {', '.join(sizes[:MAX_SIZES])}{more}"))


def write_page(diagnosis: Diagnosis, path: Path) -> None:
    """Write a diagnosis as one HTML file, atomically; it needs no other file."""
    shown: set[Path] = set()
    findings = "\n".join(_section(diagnosis, finding, shown) for finding in diagnosis.findings)
    name = diagnosis.survey.root.name
    body = f"""<h1>{escape(name)}: {verdict(diagnosis)}</h1>
<p>{escape(headline(diagnosis, portable(diagnosis.survey.root)))}</p>
<h2>Findings</h2>
{findings or "<p>None.</p>"}
<h2>Classes</h2>
<p>Images that show the class, and its share of all pixels.</p>
<div class="scroll">{_html_table(diagnosis)}</div>"""
    write_text(path, page(f"{name}: data doctor", body))


def _section(diagnosis: Diagnosis, finding: Finding, shown: set[Path]) -> str:
    """Describe a finding, with examples that no worse finding has ``shown``."""
    files = [(case, {*case.images, *([case.mask] if case.mask else [])}) for case in finding.cases]
    examples = [(case, paths) for case, paths in files if paths and not paths <= shown][:MAX_EXAMPLES]
    shown.update(*(paths for _, paths in examples))
    figures = "".join(_figure(diagnosis, case) for case, _ in examples)
    rows = "".join(f"<li>{escape(f'{case.file}  {case.detail}'.strip())}</li>" for case in finding.cases[:MAX_FILES])
    if len(finding.cases) > MAX_FILES:
        rows += f"<li>and {len(finding.cases) - MAX_FILES:,} more (--json lists all)</li>"
    return f"""<section class="{finding.severity}">
<h3><span class="tag">{finding.severity}</span>{escape(finding.text)}</h3>
<p class="do">{escape(finding.advice)}</p>
{f'<div class="examples">{figures}</div>' if figures else ""}
<details{"" if figures else " open"}><summary>{counted(len(finding.cases), "case")} of {finding.kind}</summary>
<ul>{rows}</ul></details>
</section>"""


def _figure(diagnosis: Diagnosis, case: Case) -> str:
    """Show the images that are alike, or an image and its mask."""
    colors = diagnosis.legend.colors
    labels = read_labels(case.mask, colors) if case.mask else None
    views = [view for image in case.images or (None,) for view in overlay_and_mask(image, labels, colors)]
    images = "".join(embedded(thumbnail(view, EXAMPLE_SIDE, enlarge=True)) for view in views)
    return f"<figure>{images}<figcaption>{escape(case.file)}<br>{escape(case.detail)}</figcaption></figure>"


def _html_table(diagnosis: Diagnosis) -> str:
    weighted = _weighted_split(diagnosis)
    heads = ["class", *(split for split, summary in diagnosis.summaries.items() if summary.images)]
    heads += [f"class weight ({weighted})"] if weighted else []
    swatches = [*map(swatch, (*diagnosis.legend.colors[:-1], voc.PALETTE[voc.VOID])), ""]
    rows = ""
    for color, (name, cells, weight) in zip(swatches, _class_rows(diagnosis), strict=True):
        texts = [f"{color}{escape(name)}", *(f'{images} <span class="share">{share}</span>' for images, share in cells), *weight]
        rows += f"<tr>{''.join(f'<td>{text}</td>' for text in texts)}</tr>"
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
