from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urljoin

import pytest
from starlette.testclient import TestClient

from vocseg import voc
from vocseg.app.serve.application import PAGE

SCRIPTS = sorted(PAGE.glob("*.js"))


def test_what_the_page_names_is_there(client: TestClient) -> None:
    text = client.get("/").text
    for address in re.findall(r'(?:src|href)="([^"]+)"', text):
        answer = client.get(urljoin("/", address))
        assert answer.status_code == 200, address
    assert re.findall(r'data-name="([^"]+)"', text) == re.findall(r'src="samples/([^"]+)"', text)


def test_the_page_has_no_style_or_script_in_it() -> None:
    text = (PAGE / "index.html").read_text()
    assert not re.search(r"<style|style=|javascript:|<script(?![^>]* src=)", text)
    assert not re.search(r"\son\w+=", text)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_import_each_other_alone(path: Path, client: TestClient) -> None:
    answer = client.get(f"/static/{path.name}")
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    for name in re.findall(r'from "([^"]+)"', answer.text):
        assert (PAGE / name).is_file(), name
    assert not re.search(r"https?://|\beval\(|\bFunction\(|\.innerHTML\s*=\s*[`\w]", answer.text)


def test_the_page_knows_the_names_of_backgrounds() -> None:
    found = re.search(r"BACKGROUND = \[(.*?)\]", (PAGE / "classes.js").read_text())
    assert found
    assert tuple(re.findall(r'"(.*?)"', found[1])) == voc.BACKGROUND_NAMES
