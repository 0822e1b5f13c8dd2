"""`vocseg train`: settings from files and flags, resume, wrong use, a full disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from verbs import TRAIN, Run, fails


def test_train_json_config_and_resume(run: Run, synth: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('model = "two_layer_net"\ncrop = 16\nbatch_size = 2\nepochs = 1\nworkers = 0\n')
    out = tmp_path / "run"
    code, text, err = run("train", "--config", config, "--data", synth, "--crop", 24, "--out", out, "--json", tmp_path / "t.json")
    assert code == 0, err
    assert "epoch 1/1  |  train: loss" in text
    result = json.loads((tmp_path / "t.json").read_text())
    assert result["settings"]["crop"] == 24  # the flag wins
    assert result["settings"]["batch_size"] == 2
    assert len(result["epochs"]) == 1
    code, text, err = run("train", "--resume", out, "--epochs", 2)
    assert code == 0, err
    assert "resumed at iteration 3 of 6, epoch 2" in text
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 2
    # the resolved settings of a run are themselves a config
    assert run("train", "--config", out / "config.toml", "--out", tmp_path / "second")[0] == 0


def test_more_epochs_extend_a_run_that_was_set_in_iterations(run: Run, synth: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run("train", "--data", synth, *TRAIN, "--iterations", 2, "--out", out)[0] == 0
    assert run("train", "--resume", out, "--epochs", 2)[0] == 0
    assert [json.loads(line)["iteration"] for line in (out / "metrics.jsonl").read_text().splitlines()] == [2, 3, 6]


def test_train_bad_use(run: Run, synth: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("lr = 0.1\nbatchsize = 2\n")
    fails(run("train", "--config", config, "--data", synth), config, "unknown setting 'batchsize'", "did you mean 'batch_size'")
    config.write_text('lr = "fast"\n')
    fails(run("train", "--config", config, "--data", synth), "lr", "fast")
    fails(run("train", "--config", "orginal", "--data", synth), "no recipe 'orginal'; did you mean 'original'")
    fails(run("train", "--resume", tmp_path), f"cannot resume {tmp_path}", "not a run folder")
    fails(run("train", "--resume", tmp_path, "--config", "original"), "--resume", "--config")
    fails(run("train", "--resume", tmp_path, "--out", tmp_path), "cannot be combined with --out")
    fails(
        run("train", "--data", synth, "--dry-run", "--json", tmp_path / "t.json"), "--dry-run has no results to write with --json"
    )
    fails(run("train", "--data", synth, "--split", "trian", "--out", tmp_path / "run", *TRAIN), "trian")
    assert not (tmp_path / "run").exists()
    fails(run("train", "--data", synth, "--batch-size", 0), "batch_size must be at least 1, not 0")
    fails(
        run("train", "--data", synth, "--model", "two_layer_nett", "--batch-size", 2),
        "two_layer_nett",
        "did you mean 'two_layer_net'",
    )


FULL_DISK = """
import json, resource, sys
from vocseg.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
main(json.loads(sys.argv[1]))
"""


@pytest.mark.slow
def test_full_disk(synth: Path, tmp_path: Path) -> None:
    """The system refuses to write more than 64 KB to a file, as it does on a full disk."""
    pytest.importorskip("resource")
    arguments = ["train", "--data", str(synth), "--out", "run", *TRAIN]
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, json.dumps(arguments)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "cannot write" in done.stderr
    assert "File too large" in done.stderr or "os error 27" in done.stderr
    assert not list(tmp_path.rglob("*.part"))
    assert not (tmp_path / "run" / "best.safetensors").exists()
