"""The same seed gives the same weights in every process, whatever caches hold and whatever else the machine does."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from safetensors import safe_open


def train(data: Path, out: Path, home: Path) -> str:
    """Train a small network with depthwise and dilated layers for a few steps in a fresh process; a digest of its weights."""
    outer = {name: value for name, value in os.environ.items() if name != "XDG_CACHE_HOME"}
    subprocess.run(
        [
            sys.executable, "-m", "vocseg", "train", "--data", str(data), "--model", "lraspp_mobilenet_v3_large",
            "--weights", "none", "--crop", "64", "--batch-size", "2", "--iterations", "3", "--precision", "bfloat16",
            "--workers", "0", "--seed", "7", "--out", str(out),
        ],
        env=outer | {"HOME": str(home), "VOCSEG_CACHE": str(home / "cache")}, check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    digest = hashlib.sha256()
    with safe_open(out / "last" / "model.safetensors", "pt") as file:
        for name in sorted(file.keys()):
            digest.update(file.get_tensor(name).numpy().tobytes())
    return digest.hexdigest()


@pytest.mark.slow
def test_weights_are_the_same_in_every_process(synth: Path, tmp_path: Path) -> None:
    home, empty = tmp_path / "home", tmp_path / "empty"
    home.mkdir()
    empty.mkdir()
    first = train(synth, tmp_path / "a", home)
    with ThreadPoolExecutor() as pool, subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:  # at the same time: the machine is busy
            with_what_the_first_left = pool.submit(train, synth, tmp_path / "b", home)
            with_nothing = pool.submit(train, synth, tmp_path / "c", empty)
            assert first == with_what_the_first_left.result() == with_nothing.result()
        finally:
            busy.kill()
