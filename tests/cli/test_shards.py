"""Shards from the command line; processes that are killed."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

import vocseg
from forked import Forked
from verbs import Run, data_and_model, fails
from vocseg.data.layout import VocFolder


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 40 images, and a model beside it."""
    return data_and_model(tmp_path_factory.mktemp("many"), train=1, val=40)


def content(folder: Path) -> dict[str, bytes]:
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    lines = {name: b"".join(line for line in text.splitlines(True) if b'"seconds"' not in line) for name, text in files.items()}
    return {name: text for name, text in lines.items() if not name.startswith("shard-")}


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["evaluate", "predict"])
def test_killed_at_random_times_and_started_again(many: Path, tmp_path: Path, verb: str) -> None:
    images, model = VocFolder.find(many / "data").root / "JPEGImages", many / "m.safetensors"
    commands = {
        "evaluate": ["evaluate", model, "--data", many / "data", "--device", "cpu"],
        "predict": [
            "predict",
            images,
            "--model",
            model,
            "--device",
            "cpu",
            "--format",
            "mask",
            "--format",
            "areas",
            "--skip-existing",
        ],
    }
    command, out, randomness = commands[verb], tmp_path / "out", random.Random(0)
    masks = out / "masks" if verb == "evaluate" else out
    for _ in range(4):
        process = Forked([*command, "--out", out, "--shard", "1/2"])
        before = len([*masks.glob("*.png")])
        deadline = time.monotonic() + 60
        while process.poll() is None and len([*masks.glob("*.png")]) <= before and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(randomness.uniform(0, 0.1))
        process.kill()
        process.communicate()
        assert not (out / "shard-1-of-2").exists() or (out / "shard-1-of-2" / "shard.json").is_file()
        if verb == "evaluate":
            before = 0
            for mask in masks.glob("*.png"):
                mask.unlink()
    for shard in ("1/2", "2/2"):
        process = Forked([*command, "--out", out, "--shard", shard])
        output = process.communicate(timeout=120)[0]
        assert process.returncode == 0, output
    assert not list(out.rglob(".*"))  # nothing half written
    vocseg.merge(out, out)
    whole = Forked([*command, "--out", tmp_path / "one"])
    whole.communicate(timeout=120)
    assert content(out) == content(tmp_path / "one")


def test_the_doctor_and_label_errors(many: Path, tmp_path: Path, run: Run) -> None:
    data, model = many / "data", many / "m.safetensors"
    verbs: dict[str, list[object]] = {
        "doctor": ["data", "doctor", data, "--splits", "val"],
        "errors": ["data", "errors", data, "--model", model, "--split", "val", "--device", "cpu"],
    }
    for name, command in verbs.items():
        out = tmp_path / name
        for shard in ("1/2", "2/2"):
            code, printed, _ = run(*command, "--out", out, "--shard", shard)
            assert code == 0
            assert f"shard {shard}: " in printed
            assert f"when all shards are finished: vocseg merge {out} --out {out}" in printed
        assert f"shard 2/2 is finished: {out / 'shard-2-of-2'}" in run(*command, "--out", out, "--shard", "2/2")[1]
        code, printed, _ = run("merge", out, "--out", out, "--json", tmp_path / f"{name}.json")
        one_code, one, _ = run(*command, "--out", tmp_path / f"{name}-one")
        assert code == one_code
        assert f"written: {out}" in printed
        if name == "errors":
            assert printed.splitlines()[:-1] == one.splitlines()[:-1]
        left, right = content(out), content(tmp_path / f"{name}-one")
        assert left.keys() == right.keys()
        assert {key: text for key, text in left.items() if key.endswith(".json")} == {
            key: text for key, text in right.items() if key.endswith(".json")
        }


def test_merge_says_what_one_run_says(many: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(many)
    out, evaluate = tmp_path / "out", ["evaluate", "m.safetensors", "--data", "data", "--device", "cpu"]
    assert run(*evaluate, "--out", out, "--shard", "1/1")[0] == 0
    first, merged = (run(*command)[1].splitlines()[0] for command in (evaluate, ["merge", out]))
    assert merged == first
    assert first.endswith(" on val of data")


def test_skipped_images_are_named_and_the_exit_code_is_that_of_one_run(many: Path, tmp_path: Path, run: Run) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for name in ("a.png", "b.png"):
        (photos / name).write_bytes(b"damaged")
    (photos / "c.jpg").write_bytes(min((VocFolder.find(many / "data").root / "JPEGImages").iterdir()).read_bytes())
    predict = ["predict", photos, "--model", many / "m.safetensors", "--device", "cpu", "--no-overlay"]
    one = run(*predict, "--out", tmp_path / "one")
    *_, count, shard, then = run(*predict, "--format", "mask", "--format", "areas", "--out", out, "--shard", "1/1")[1].splitlines()
    assert (count, shard) == (f"1 image; mask in {out}", f"shard 1/1: 1 image; written: {out / 'shard-1-of-1'}")  # areas are not
    assert then == f"when all shards are finished: vocseg merge {out} --out {out}"
    merged = run("merge", out, "--out", out)
    fails(merged, "2 of 3 images skipped", photos / "a.png", photos / "b.png")
    assert merged[2] == one[2]
    assert "written:" in merged[1]
    assert "stay in" not in merged[1]
    assert f"masks and other files of single images stay in {out}\n" in run("merge", out, "--out", tmp_path / "other")[1]
    again = run(*predict, "--out", out, "--shard", "1/1", "--skip-existing")
    assert f"\nshard 1/1: 1 image; written: {out / 'shard-1-of-1'}\n" in again[1]


def test_a_shard_in_a_launched_process(many: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    command = ["data", "doctor", many / "data", "--splits", "val", "--out", tmp_path]
    fails(run(*command, "--shard", "1/2"), "--shard 1/2 in a run in 2 processes, each of which takes a shard: leave out --shard")
    assert run(*command, "--shard", "2/2")[0] == 0


def test_wrong_use(many: Path, tmp_path: Path, run: Run) -> None:
    data, model = many / "data", many / "m.safetensors"
    fails(run("evaluate", model, "--data", data, "--shard", "1/2"), "--shard 1/2 needs --out")
    fails(run("score", tmp_path, "--data", data, "--shard", "0/2", "--out", tmp_path), "shard '0/2' is not I/N with I from 1 to N")
    fails(run("predict", data, "--shard", "3/2"), "shard '3/2' is not")
    for verb in (["evaluate", model], ["score", tmp_path]):
        command = [*verb, "--data", data, "--shard", "1/2", "--out", tmp_path / "o", "--conventions"]
        fails(run(*command), "--conventions needs all images, not a shard")
    fails(run("data", "errors", data, "--shard", "1/2", "--folds", 2), "--shard takes no --folds")
    fails(run("data", "doctor", data, "--shard", "1/2", "--out", tmp_path / "o", "--html", tmp_path / "a.html"), "need all images")
    fails(run("data", "doctor", data, "--shard", "1/2", "--out", tmp_path / "o", "--strict"), "need all images")
    fails(run("data", "doctor", data, "--shard", "1/2", "--out", data / "o"), "lies inside the data set")
    fails(run("merge", tmp_path), f"no results of shards in {tmp_path}")
