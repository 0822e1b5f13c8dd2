"""The Dockerfile holds what `vocseg serve` needs, and says what it takes. hadolint reads it in `make lint`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vocseg.cli.main import app, split_common

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")


def instructions(name: str) -> list[str]:
    return re.findall(rf"^\s*{name} (.+)$", LINES, re.MULTILINE)


def test_hadolint_finds_nothing() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_its_command_is_one() -> None:
    [command] = [json.loads(text) for text in instructions("ENTRYPOINT")]
    tokens, _ = split_common(command[1:])
    app.parse_args(tokens, exit_on_error=False, print_error=False)
    [health] = [json.loads(text.partition(" CMD ")[2]) for text in instructions("HEALTHCHECK")]
    assert f":{command[command.index('--port') + 1]}/v1/ready" in health[-1]
    compile(health[-1], "health", "exec")


def test_it_does_not_run_as_root() -> None:
    assert instructions("USER") == ["10001:10001"]


def test_what_it_copies_is_sent_to_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [name for text in instructions("COPY") if "--from" not in text for name in text.split()[:-1]]
    assert copied == ["pyproject.toml", "README.md", "LICENSE", "NOTICE", "src"]
    assert {f"!{name}" for name in copied} <= set(ignored)
    assert all((ROOT / name).exists() for name in copied)
