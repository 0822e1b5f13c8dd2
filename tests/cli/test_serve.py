"""``vocseg serve``: what it refuses before it listens. tests/app/serve runs it."""

from __future__ import annotations

import importlib.util
import socket

import pytest

from verbs import Run, fails


def test_other_addresses_need_a_token(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOCSEG_TOKEN", raising=False)
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org"):
        fails(run("serve", "--host", host), f"--host {host} without a token", "VOCSEG_TOKEN")


def test_an_empty_token_is_none(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOCSEG_TOKEN", "")
    fails(run("serve", "--host", "0.0.0.0"), "token")


def test_the_token_of_the_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOCSEG_TOKEN", "secret")
    code, _, err = run("serve", "--host", "192.0.2.1", "--port", "0")  # an address that no machine has
    assert (code, "cannot listen on 192.0.2.1:0" in err, "secret" in err) == (2, True, False)


def test_a_port_that_is_taken(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        fails(run("serve", "--port", port), f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another --port")


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "python_multipart", "prometheus_client"])
def test_without_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == package else real(name, *rest))
    fails(run("serve"), f"{package.replace('_', '-')} is not installed; pip install 'vocseg[serve]'")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["no such file.safetensors", "--port", "0"], ["no such file.safetensors"]),
        (["two_layer_net", "--port", "0"], ["has no pretrained"]),
        (["--port", "70000"], ["--port"]),
        (["--queue", "0"], ["--queue"]),
        (["--timeout", "0", "--port", "0"], ["--timeout", "> 0"]),
        (["--cors", "example.org", "--port", "0"], ["https://example.org"]),
        (["--log-format", "xml"], ["--log-format"]),
    ],
)
def test_wrong_settings(run: Run, arguments: list[str], parts: list[str]) -> None:
    fails(run("serve", *arguments), *parts)
