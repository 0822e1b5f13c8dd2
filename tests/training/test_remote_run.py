"""Runs at URLs against runs on the disk."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import vocseg
from s3_server import DENIED, INTERNAL, Failure, S3Server
from vocseg.errors import InputError, OutputError
from vocseg.training.config import TrainConfig
from vocseg.training.run_folder import RunFolder
from vocseg.utils.remote import find, read_bytes

EQUAL = ("best.safetensors", "last/model.safetensors", "metrics.jsonl", "steps.csv")
"""Files of equal runs that are equal byte by byte."""


def same_files(url: str, folder: Path, names: tuple[str, ...] = EQUAL) -> bool:
    return all(read_bytes(f"{url}/{name}") == (folder / name).read_bytes() for name in names)


def test_a_run_at_a_url_has_the_files_of_one_on_a_disk(
    bucket: str, quick: TrainConfig, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:  # fmt: skip
    url, local = f"{bucket}/run", tmp_path / "run"
    vocseg.train(config=replace(quick, epochs=2))
    code, out, err = run("train", "--config", local / "config.toml", "--out", url)
    assert (code, f"model {url}/best.safetensors" in out) == (0, True), err
    assert {found.name for found in find(url)} == {path.relative_to(local).as_posix() for path in local.rglob("*.*")} - {".lock"}
    assert same_files(url, local)
    assert f"{bucket}/run" in read_bytes(f"{url}/log.txt").decode().splitlines()[0]
    assert vocseg.evaluate(f"{url}/best.safetensors", quick.data, device="cpu").miou is not None
    with pytest.raises(OutputError, match=rf"^{url} already contains a run; use --resume {url}, or choose another --out"):
        vocseg.train(config=replace(quick, out=url))
    with pytest.raises(InputError, match=rf"^cannot resume {bucket}/none: it is not a run folder"):
        vocseg.train(resume=f"{bucket}/none")
    result = vocseg.train(resume=local, epochs=3)
    code, out, err = run("train", "--resume", url, "--epochs", 3)
    assert (code, "resumed at iteration 3 of 5" in out) == (0, True), err
    assert same_files(url, local)
    assert sum("state-" in found.name for found in find(url)) == 2
    assert repr(result).startswith(f"TrainResult({local}/best.safetensors: best")


def test_a_run_that_ends_at_any_upload_is_resumed(s3: S3Server, bucket: str, quick: TrainConfig, tmp_path: Path) -> None:
    vocseg.train(config=quick)
    for deadly in itertools.count(0, 5):
        url, left = f"{bucket}/run-{deadly}", [deadly]

        def fail(method: str, path: str, left: list[int] = left) -> Failure | None:
            left[0] -= method in ("PUT", "DELETE")
            return DENIED if left[0] < 0 else None

        s3.fail = fail
        with suppress(OutputError):
            vocseg.train(config=replace(quick, out=url))
            break
        s3.fail = lambda method, path: None
        begun = any(found.name == "config.toml" for found in find(url))
        vocseg.train(resume=url) if begun else vocseg.train(config=replace(quick, out=url))
        assert same_files(url, tmp_path / "run")
    assert deadly > 15


def test_a_store_that_is_away_for_a_while(
    s3: S3Server, bucket: str, quick: TrainConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    vocseg.train(config=quick)
    s3.times(INTERNAL, 4, lambda method, path: method == "PUT" and "state-" in path)
    result = vocseg.train(config=replace(quick, out=f"{bucket}/run"))
    assert f"cannot write {bucket}/run/last/state-000000002.pt: We encountered" in caplog.text
    assert same_files(f"{bucket}/run", tmp_path / "run")
    assert repr(result).startswith(f"TrainResult({bucket}/run/best.safetensors: best")
    assert result.best.read_bytes() == read_bytes(f"{bucket}/run/best.safetensors")


def test_in_memory(quick: TrainConfig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    one = vocseg.train(config=replace(quick, out="memory://runs/one"))
    assert "run folder memory://runs/one" in caplog.text
    again = vocseg.train(resume="memory://runs/one")
    assert all(map(torch.equal, one.model.state_dict().values(), again.model.state_dict().values()))
    assert repr(again.run) == "RunFolder('memory://runs/one')"
    assert RunFolder.open("memory://runs/one").read_metrics() == one.history
