"""What the doctor found, as one HTML file with example images inside."""

from __future__ import annotations

from html import escape
from pathlib import Path

from PIL import Image

from vocseg import voc
from vocseg.data.image_io import read_image
from vocseg.doctor.examine import Diagnosis
from vocseg.doctor.issues import Case, Finding
from vocseg.doctor.report import headline, verdict, weights_split
from vocseg.doctor.views import views
from vocseg.utils.files import write_text
from vocseg.utils.html import embedded, page, swatch
from vocseg.utils.text import counted

EXAMPLES = 6
FILES = 200
SIDE = 260
"""Longest side of an example, in pixels."""


def write_page(diagnosis: Diagnosis, path: Path) -> None:
    """Write the page, atomically; it needs no other file."""
    findings = "\n".join(_section(diagnosis, finding) for finding in diagnosis.findings)
    body = f"""<h1>{escape(diagnosis.survey.root.name)}: {verdict(diagnosis)}</h1>
<p>{escape(headline(diagnosis))}</p>
<h2>Findings</h2>
{findings or "<p>None.</p>"}
<h2>Classes</h2>
<p>Images that show the class, and its share of all pixels.</p>
<div class="scroll">{_class_table(diagnosis)}</div>"""
    write_text(path, page(f"{diagnosis.survey.root.name}: data doctor", body))


def _section(diagnosis: Diagnosis, finding: Finding) -> str:
    visible = [case for case in finding.cases if case.images or case.mask]
    figures = "".join(_figure(diagnosis, case) for case in visible[:EXAMPLES])
    rows = "".join(f"<li>{escape(f'{case.file}  {case.detail}'.strip())}</li>" for case in finding.cases[:FILES])
    if len(finding.cases) > FILES:
        rows += f"<li>and {len(finding.cases) - FILES:,} more (--json has all)</li>"
    return f"""<section class="{finding.severity}">
<h3><span class="tag">{finding.severity}</span>{escape(finding.text)}</h3>
<p class="do">{escape(finding.advice)}</p>
{f'<div class="examples">{figures}</div>' if figures else ""}
<details{"" if figures else " open"}><summary>{counted(len(finding.cases), "case")} of {finding.kind}</summary>
<ul>{rows}</ul></details>
</section>"""


def _figure(diagnosis: Diagnosis, case: Case) -> str:
    images = "".join(embedded(image) for image in _views(diagnosis, case))
    return f"<figure>{images}<figcaption>{escape(case.file)}<br>{escape(case.detail)}</figcaption></figure>"


def _views(diagnosis: Diagnosis, case: Case) -> list[Image.Image]:
    """What shows a case best: the images that are alike, or an image and its mask."""
    if case.mask is None:
        images = [read_image(path) for path in case.images]
        return [_small(Image.fromarray(image.permute(1, 2, 0).numpy())) for image in images]
    image = case.images[0] if case.images else None
    return [_small(view) for view in views(image, case.mask, diagnosis.legend.colors)]


def _small(image: Image.Image) -> Image.Image:
    factor = SIDE / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.NEAREST)


def _class_table(diagnosis: Diagnosis) -> str:
    summaries = [summary for summary in diagnosis.summaries.values() if summary.images]
    weighted = weights_split(diagnosis)
    weights = [] if weighted is None else diagnosis.summaries[weighted].class_weights().tolist()
    head = "".join(f"<th>{escape(summary.split)}</th>" for summary in summaries)
    head += f"<th>class weight ({escape(weighted)})</th>" if weighted else ""
    rows = []
    for label, name in [*enumerate(diagnosis.legend.classes), (voc.VOID, "void")]:
        color = voc.PALETTE[voc.VOID] if label == voc.VOID else diagnosis.legend.colors[label]
        cells = "".join(
            f'<td>{int(summary.images_per_class[label]):,} <span class="share">'
            f"{int(summary.pixels[label]) / max(1, int(summary.pixels.sum())):.2%}</span></td>"
            for summary in summaries
        )
        weight = f"<td>{weights[label]:.3f}</td>" if label < len(weights) else "<td></td>" if weights else ""
        rows.append(f"<tr><td>{swatch(color)}{escape(name)}</td>{cells}{weight}</tr>")
    total = "".join(f"<td>{summary.images:,} <span class='share'></span></td>" for summary in summaries)
    rows.append(f"<tr><td>all</td>{total}{'<td></td>' if weights else ''}</tr>")
    return f"<table><thead><tr><th>class</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
