"""What the doctor found, as one HTML file with example pictures inside."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path

from PIL import Image

from vocseg import __version__, voc
from vocseg.data.doctor.examine import Diagnosis
from vocseg.data.doctor.report import count, headline, verdict, weights_split
from vocseg.data.doctor.views import views
from vocseg.data.findings import Case, Finding
from vocseg.data.read import read_picture
from vocseg.files import write_text

EXAMPLES = 6
FILES = 200
SIDE = 260
"""Longest side of an example, in pixels."""

STYLE = """
:root{color-scheme:light dark;--line:#8884;--error:#c62828;--warning:#b26a00;--note:#00796b}
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.15rem;margin-top:2.2rem}
section{border-left:5px solid var(--line);padding:.1rem 0 .3rem 1rem;margin:1.2rem 0}
section.error{border-color:var(--error)}section.warning{border-color:var(--warning)}section.note{border-color:var(--note)}
h3{font-size:1rem;margin:.3rem 0}.tag{color:#fff;border-radius:4px;padding:.1rem .45rem;font-size:.8rem;margin-right:.4rem}
.error .tag{background:var(--error)}.warning .tag{background:var(--warning)}.note .tag{background:var(--note)}
.do{margin:.2rem 0}.do::before{content:"→ "}
.examples{display:flex;flex-wrap:wrap;gap:.8rem;margin:.6rem 0}figure{margin:0}
figure img{display:inline-block;vertical-align:top;margin-right:2px}
figcaption,details{font-size:.8rem}figcaption{overflow-wrap:anywhere}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{padding:.15rem .6rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
.swatch{display:inline-block;width:.8em;height:.8em;border:1px solid #8888;margin-right:.4em}
.share{display:inline-block;min-width:3.6em}
"""


def write_page(diagnosis: Diagnosis, path: Path) -> None:
    """Write the page, atomically; it needs no other file."""
    findings = "\n".join(_section(diagnosis, finding) for finding in diagnosis.findings)
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{escape(diagnosis.survey.root.name)}: data doctor</title><style>{STYLE}</style></head><body>
<h1>{escape(diagnosis.survey.root.name)}: {verdict(diagnosis)}</h1>
<p>{escape(headline(diagnosis))}</p>
<h2>Findings</h2>
{findings or "<p>None.</p>"}
<h2>Classes</h2>
<p>Pictures that show the class, and its share of all pixels.</p>
<div class="scroll">{_class_table(diagnosis)}</div>
<p>vocseg {__version__}</p>
</body></html>
"""
    write_text(path, page)


def _section(diagnosis: Diagnosis, finding: Finding) -> str:
    visible = [case for case in finding.cases if case.pictures or case.mask]
    figures = "".join(_figure(diagnosis, case) for case in visible[:EXAMPLES])
    rows = "".join(f"<li>{escape(f'{case.file}  {case.detail}'.strip())}</li>" for case in finding.cases[:FILES])
    if len(finding.cases) > FILES:
        rows += f"<li>and {len(finding.cases) - FILES:,} more (--json has all)</li>"
    return f"""<section class="{finding.severity}">
<h3><span class="tag">{finding.severity}</span>{escape(finding.text)}</h3>
<p class="do">{escape(finding.advice)}</p>
{f'<div class="examples">{figures}</div>' if figures else ""}
<details{"" if figures else " open"}><summary>{count(len(finding.cases), "case")} of {finding.kind}</summary>
<ul>{rows}</ul></details>
</section>"""


def _figure(diagnosis: Diagnosis, case: Case) -> str:
    images = "".join(_embedded(image) for image in _views(diagnosis, case))
    return f"<figure>{images}<figcaption>{escape(case.file)}<br>{escape(case.detail)}</figcaption></figure>"


def _views(diagnosis: Diagnosis, case: Case) -> list[Image.Image]:
    """What shows a case best: the pictures that are alike, or a picture and its mask."""
    if case.mask is None:
        pictures = [read_picture(path) for path in case.pictures]
        return [_small(Image.fromarray(picture.permute(1, 2, 0).numpy())) for picture in pictures]
    picture = case.pictures[0] if case.pictures else None
    return [_small(view) for view in views(picture, case.mask, diagnosis.legend.colours)]


def _small(image: Image.Image) -> Image.Image:
    factor = SIDE / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.NEAREST)


def _embedded(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=85)
    text = base64.b64encode(buffer.getvalue()).decode()
    return f'<img width="{image.width}" height="{image.height}" alt="" src="data:image/jpeg;base64,{text}">'


def _class_table(diagnosis: Diagnosis) -> str:
    summaries = [summary for summary in diagnosis.summaries.values() if summary.images]
    weighted = weights_split(diagnosis)
    weights = [] if weighted is None else diagnosis.summaries[weighted].class_weights().tolist()
    head = "".join(f"<th>{escape(summary.split)}</th>" for summary in summaries)
    head += f"<th>class weight ({escape(weighted)})</th>" if weighted else ""
    rows = []
    for label, name in [*enumerate(diagnosis.legend.classes), (voc.VOID, "void")]:
        red, green, blue = voc.PALETTE[voc.VOID] if label == voc.VOID else diagnosis.legend.colours[label]
        cells = "".join(
            f'<td>{int(summary.pictures[label]):,} <span class="share">'
            f"{int(summary.pixels[label]) / max(1, int(summary.pixels.sum())):.2%}</span></td>"
            for summary in summaries
        )
        weight = f"<td>{weights[label]:.3f}</td>" if label < len(weights) else "<td></td>" if weights else ""
        swatch = f'<span class="swatch" style="background:rgb({red},{green},{blue})"></span>'
        rows.append(f"<tr><td>{swatch}{escape(name)}</td>{cells}{weight}</tr>")
    total = "".join(f"<td>{summary.images:,} <span class='share'></span></td>" for summary in summaries)
    rows.append(f"<tr><td>all</td>{total}{'<td></td>' if weights else ''}</tr>")
    return f"<table><thead><tr><th>class</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
