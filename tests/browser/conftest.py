"""Fixtures: `vocseg serve` as a process, Chromium, and a page that may neither ask another host nor report an error."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

import vocseg
from browser.watched import PHOTOS, Watched
from vocseg.inference.result import Segmentation

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox", "--disable-dev-shm-usage", "--use-fake-device-for-media-stream=device-count=2",
    "--use-fake-ui-for-media-stream", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]  # fmt: skip


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of its own."""
    # torch, as the masks that tests compare with: OpenVINO, where it is installed, rounds in another way
    command = [sys.executable, "-m", "vocseg", "serve", "--port", "0", "--device", "cpu", "--engine", "torch"]
    log = tmp_path_factory.mktemp("serve") / "log.txt"  # not a pipe, which would be full after some requests
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT) as process:
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())):
            if process.poll() is not None:
                pytest.fail(f"vocseg serve ended: {log.read_text()}")
            time.sleep(0.05)
        yield found[0]
        process.terminate()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def watched(browser: Any, server: str) -> Iterator[Watched]:
    """The page, opened; afterwards its requests and its console are checked."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, accept_downloads=True, has_touch=True)
    context.set_default_timeout(30_000)
    one = Watched(context.new_page(), server)
    one.page.goto(server)
    yield one
    context.close()
    one.check()


@pytest.fixture
def page(watched: Watched) -> Any:
    return watched.page


@pytest.fixture(scope="session")
def expected() -> dict[str, Segmentation]:
    """What vocseg.Segmenter says of the sample photographs."""
    segment = vocseg.Segmenter(device="cpu")
    return {path.name: segment(path) for path in sorted(PHOTOS.iterdir())}
