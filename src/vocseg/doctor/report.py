"""What the doctor found, in the terminal."""

from __future__ import annotations

from collections import Counter

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vocseg import voc
from vocseg.data.split_summary import SplitSummary
from vocseg.doctor.examine import Diagnosis
from vocseg.doctor.issues import SEVERITIES, Finding
from vocseg.doctor.leaks import role
from vocseg.doctor.repair import Repairs
from vocseg.utils.text import counted

STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
SHOWN = 3


def headline(diagnosis: Diagnosis) -> str:
    """One line: folder, classes, splits, pairs and speed."""
    # Names that nothing in the folder gives are told, since they may be another data set's.
    named = "" if (diagnosis.survey.root / voc.CLASSES_FILE).exists() or diagnosis.legend.renamed else " (VOC's; no classes.txt)"
    speed = diagnosis.pairs / max(diagnosis.seconds, 1e-9)
    return (
        f"{diagnosis.survey.root}: {counted(len(diagnosis.legend.classes), 'class')}{named}, "
        f"{counted(len(diagnosis.survey.splits), 'split')}, {counted(diagnosis.pairs, 'image-mask pair')} "
        f"in {diagnosis.seconds:.1f} s ({speed:.0f} a second)"
    )


def verdict(diagnosis: Diagnosis) -> str:
    """One line: how many kinds of findings there are of each severity."""
    return ", ".join(counted(diagnosis.count(severity), severity) for severity in SEVERITIES)


def print_diagnosis(diagnosis: Diagnosis) -> None:
    """Print the class table, each finding with its first files and what to do, and the verdict."""
    console = Console()
    console.print(headline(diagnosis), markup=False, highlight=False, soft_wrap=True)
    if diagnosis.pairs:
        console.print(mask_kinds(diagnosis), highlight=False, soft_wrap=True)
        console.print(class_table(diagnosis, console.width))
    for finding in diagnosis.findings:
        _print_finding(console, finding)
    console.print(verdict(diagnosis), highlight=False, style="bold")


def weights_split(diagnosis: Diagnosis) -> str | None:
    """The split whose class weights are told: ``train``, or the first that is trained on and not empty."""
    names = [name for name, summary in diagnosis.summaries.items() if summary.images and role(name) != "scored"]
    return "train" if "train" in names else next(iter(names), None)


def class_table(diagnosis: Diagnosis, width: int) -> Table:
    """Images of each class in each split, with its share of pixels where ``width`` columns allow, and its class weight."""
    splits = [split for split in diagnosis.survey.splits if diagnosis.summaries[split.name].images]
    weighted = weights_split(diagnosis)
    shares = 24 + 16 * len(splits) <= width
    title = f"images{', share of pixels' * shares}{f'; class weights for {weighted}' if weighted else ''}"
    table = Table(header_style="bold", title=title, title_justify="left", title_style="")
    table.box, table.pad_edge, table.collapse_padding = SIMPLE_HEAD, False, True
    table.add_column("class", no_wrap=True)
    columns = []
    for split in splits:
        table.add_column(split.name, justify="right", no_wrap=True)
        columns.append(_column(diagnosis.summaries[split.name], shares))
    if weighted is not None:
        table.add_column("weight", justify="right", no_wrap=True)
        weights = diagnosis.summaries[weighted].class_weights().tolist()
        columns.append([f"{weight:.3f}" for weight in weights] + ["", ""])
    for row in zip((*diagnosis.legend.classes, "void", "all"), *columns, strict=True):
        table.add_row(*row, end_section=row[0] == "void")
    return table


def _column(summary: SplitSummary, shares: bool) -> list[str]:
    """A split's cells: one for each class, void, and all images."""
    labels = [*range(len(summary.classes)), voc.VOID]
    total = max(1, int(summary.pixels.sum()))
    cells = [f"{int(summary.images_per_class[label]):,}" for label in labels]
    if shares:
        cells = [f"{cell} {int(summary.pixels[label]) / total:6.2%}" for cell, label in zip(cells, labels, strict=True)]
    return [*cells, f"{summary.images:,}{' ' * 7 * shares}"]


def mask_kinds(diagnosis: Diagnosis) -> str:
    """One line: how many masks there are of each kind."""
    kinds = Counter(facts.kind for facts in diagnosis.masks.values())
    return "masks: " + ", ".join(f"{number:,} {kind}" for kind, number in kinds.most_common())


def _print_finding(console: Console, finding: Finding) -> None:
    head = Text(f"{finding.severity:<8}", style=STYLES[finding.severity])
    head.append(f"{finding.text} ", style="default not bold")
    head.append(f"({finding.kind}: {len(finding.cases):,})", style="dim not bold")
    console.print(head, soft_wrap=True)
    for case in finding.cases[:SHOWN]:
        console.print(f"          {case.file}  {case.detail}".rstrip(), markup=False, highlight=False, soft_wrap=True)
    if len(finding.cases) > SHOWN:
        console.print(f"          and {len(finding.cases) - SHOWN:,} more (--json has all)", highlight=False, soft_wrap=True)
    console.print(f"          → {finding.advice}", markup=False, highlight=False, soft_wrap=True, style="italic")


def print_repairs(repairs: Repairs, out: str) -> None:
    """Print what --fix did, the left-out files first ones only."""
    console = Console()
    steps: dict[str, int] = {}
    for file, change in repairs.changes:
        step = change if file.endswith(".png") else f"{file}: {change}"
        steps[step] = steps.get(step, 0) + 1
    head = f"\nrepaired copy in {out}: {counted(repairs.copied, 'mask')} as before"
    console.print(head, highlight=False, soft_wrap=True, markup=False)
    for change, number in steps.items():
        console.print(f"  {number:,} x {change}", highlight=False, soft_wrap=True, markup=False)
    if repairs.left_out:
        console.print(f"  {len(repairs.left_out):,} left out:", highlight=False, soft_wrap=True)
    for file, reason in repairs.left_out[:SHOWN]:
        console.print(f"    {file}: {reason}", highlight=False, soft_wrap=True, markup=False)
    if len(repairs.left_out) > SHOWN:
        console.print(f"    and {len(repairs.left_out) - SHOWN:,} more", highlight=False, soft_wrap=True)
    console.print(f"  each change is in {out}/fixes.json", highlight=False, soft_wrap=True, markup=False)
