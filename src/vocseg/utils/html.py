"""Self-contained HTML pages."""

from __future__ import annotations

import base64
import io
from html import escape

from PIL import Image

from vocseg import __version__
from vocseg.utils.files import MARK
from vocseg.utils.text import visible

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
STYLE = """
:root{color-scheme:light dark;--line:#8884;--error:#c62828;--warning:#b26a00;--note:#00796b}
body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.15rem;margin-top:2.2rem}
section{border-left:5px solid var(--line);padding:.1rem 0 .3rem 1rem;margin:1.2rem 0}
section.error{border-color:var(--error)}section.warning{border-color:var(--warning)}section.note{border-color:var(--note)}
h3{font-size:1rem;margin:.3rem 0}.tag{color:#fff;border-radius:4px;padding:.1rem .45rem;font-size:.8rem;margin-right:.4rem}
.error .tag{background:var(--error)}.warning .tag{background:var(--warning)}.note .tag{background:var(--note)}
.do{margin:.2rem 0}.do::before{content:"→ "}
.examples{display:flex;flex-wrap:wrap;align-items:flex-start;gap:.8rem;margin:.6rem 0}figure{margin:0}
figure img{display:inline-block;vertical-align:top;margin-right:2px;max-width:100%;height:auto}
figcaption,details{font-size:.8rem}figcaption{overflow-wrap:anywhere}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums}
th,td{padding:.15rem .6rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
.swatch{display:inline-block;width:.8em;height:.8em;border:1px solid #8888;margin-right:.4em}
.name{display:inline-block;margin-right:1em}
.share{display:inline-block;min-width:3.6em}
"""


def page(title: str, body: str, style: str = "") -> str:
    """Return a page with the HTML ``body``; ``title`` is plain text, ``style`` more CSS.

    It runs no script and loads nothing from elsewhere.
    """
    text = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="{MARK.decode()}">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{escape(title)}</title><style>{STYLE}{style}</style></head><body>
{body}
<p>vocseg {__version__}</p>
</body></html>
"""
    return visible(text, keep="\n")


def embedded(image: Image.Image, kind: str = "JPEG", alt: str = "") -> str:
    """Return an ``img`` element with the image inside, as JPEG or, for images of few colors, PNG; ``alt`` is plain text."""
    buffer = io.BytesIO()
    if kind == "PNG":
        image.save(buffer, kind, optimize=True)
    else:
        image.convert("RGB").save(buffer, kind, quality=85)
    text = base64.b64encode(buffer.getvalue()).decode()
    source = f"data:image/{kind.lower()};base64,{text}"
    return f'<img width="{image.width}" height="{image.height}" alt="{escape(alt)}" src="{source}">'


def swatch(color: tuple[int, int, int]) -> str:
    """Return a small square of an RGB color."""
    red, green, blue = color
    return f'<span class="swatch" style="background:rgb({red},{green},{blue})"></span>'
