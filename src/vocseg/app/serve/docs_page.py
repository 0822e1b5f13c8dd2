"""The description of the API as a page that loads nothing and runs no script."""

from __future__ import annotations

import re
from html import escape
from typing import Any

from vocseg.utils.html import page

STYLE = "th,td{text-align:left;white-space:normal;vertical-align:top}.scroll{margin:.8rem 0}td:last-child{min-width:9em}"


def docs_page(description: dict[str, Any]) -> str:
    """Return the page of an OpenAPI description."""
    info = description["info"]
    parts = [
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info.get('description', ''))} "
        'The same for programs: <a href="openapi.json">openapi.json</a>.</p>'
    ]
    for path, methods in description["paths"].items():
        parts += [_operation(path, method, values) for method, values in methods.items()]
    return page(f"{info['title']}: API", "\n".join(parts), style=STYLE)


def _operation(path: str, method: str, values: dict[str, Any]) -> str:
    text = "".join(f"<p>{_prose(part)}</p>" for part in values.get("description", "").split("\n\n"))
    kinds = values.get("requestBody", {}).get("content", {})
    body = f"<p>Body: {escape(', '.join(kinds))}</p>" if kinds else ""
    parameters = [_parameter(one) for one in values.get("parameters", ())]
    answers = [[code, answer["description"], ", ".join(answer.get("content", {}))] for code, answer in values["responses"].items()]
    tables = _table(("parameter", "values", "default", ""), parameters) + _table(("status", "", "type"), answers)
    return f'<section class="note"><h2>{escape(method.upper())} {escape(path)}</h2>{text}{body}{tables}</section>'


def _prose(text: str) -> str:
    """Format text with `code` in it."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _parameter(values: dict[str, Any]) -> list[str]:
    schema = values.get("schema", {})
    options = [option for part in (schema, *schema.get("anyOf", ())) for option in part.get("enum", ())]
    low, high = schema.get("minimum"), schema.get("maximum")
    kind = ", ".join(options) or (f"{low:g} to {high:g}" if low is not None and high is not None else schema.get("type", ""))
    default = schema.get("default")
    return [values["name"], kind, "" if default is None else str(default), values.get("description", "")]


def _table(head: tuple[str, ...], rows: list[list[str]]) -> str:
    if not rows:
        return ""
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table></div>'
