"""Write a diagnosis as one HTML file with example images inside."""

from __future__ import annotations

from html import escape
from pathlib import Path

from PIL import Image

from vocseg import voc
from vocseg.data.image_io import read_image
from vocseg.doctor.examine import Diagnosis
from vocseg.doctor.issues import Case, Finding
from vocseg.doctor.report import class_rows, headline, verdict, weighted_split
from vocseg.doctor.views import overlay_and_mask
from vocseg.draw import thumbnail
from vocseg.utils.files import write_text
from vocseg.utils.html import embedded, page, swatch
from vocseg.utils.text import counted

MAX_EXAMPLES = 6
MAX_FILES = 200
EXAMPLE_SIDE = 260
"""Longer side of an example, in pixels."""


def write_page(diagnosis: Diagnosis, path: Path) -> None:
    """Write the page atomically; it needs no other file."""
    findings = "\n".join(_section(diagnosis, finding) for finding in diagnosis.findings)
    name = diagnosis.survey.root.name
    body = f"""<h1>{escape(name)}: {verdict(diagnosis)}</h1>
<p>{escape(headline(diagnosis))}</p>
<h2>Findings</h2>
{findings or "<p>None.</p>"}
<h2>Classes</h2>
<p>Images that show the class, and its share of all pixels.</p>
<div class="scroll">{_class_table(diagnosis)}</div>"""
    write_text(path, page(f"{name}: data doctor", body))


def _section(diagnosis: Diagnosis, finding: Finding) -> str:
    visible = [case for case in finding.cases if case.images or case.mask]
    figures = "".join(_figure(diagnosis, case) for case in visible[:MAX_EXAMPLES])
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
    if case.mask is None:
        views = [Image.fromarray(read_image(path).permute(1, 2, 0).numpy()) for path in case.images]
    else:
        views = overlay_and_mask(case.images[0] if case.images else None, case.mask, diagnosis.legend.colors)
    images = "".join(embedded(thumbnail(view, EXAMPLE_SIDE, enlarge=True)) for view in views)
    return f"<figure>{images}<figcaption>{escape(case.file)}<br>{escape(case.detail)}</figcaption></figure>"


def _class_table(diagnosis: Diagnosis) -> str:
    weighted = weighted_split(diagnosis)
    head = "".join(f"<th>{escape(split)}</th>" for split, summary in diagnosis.summaries.items() if summary.images)
    head += f"<th>class weight ({escape(weighted)})</th>" if weighted else ""
    colors = [*diagnosis.legend.colors[:-1], voc.PALETTE[voc.VOID], None]
    rows = []
    for (name, cells, weight), color in zip(class_rows(diagnosis), colors, strict=True):
        shown = "".join(f'<td>{images} <span class="share">{share}</span></td>' for images, share in cells)
        shown += f"<td>{weight}</td>" if weighted else ""
        rows.append(f"<tr><td>{swatch(color) if color else ''}{escape(name)}</td>{shown}</tr>")
    return f"<table><thead><tr><th>class</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
