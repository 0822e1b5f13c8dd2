from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vocseg.ops.choices import Choices, cache_folder, machine_key, race


def test_quickest_once_and_from_disk_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOCSEG_CACHE", str(tmp_path / "cache"))
    asked: list[int] = []

    def measure() -> dict[str, float]:
        asked.append(1)
        return {"slow": 2.0, "quick": 1.0}

    choices = Choices()
    assert choices.find("layer", ["slow", "quick"], measure) == "quick"
    assert choices.find("layer", ["slow", "quick"], measure) == "quick"
    assert len(asked) == 1
    choices.save()
    assert Choices().find("layer", ["slow", "quick"], measure) == "quick"
    assert len(asked) == 1
    # where there are other ways than before, they are measured
    assert Choices().known("layer", ["slow", "quick"]) == "quick"
    assert Choices().known("layer", ["slow", "quick", "new"]) is None
    assert Choices().find("layer", ["slow"], measure) == "slow"
    assert len(asked) == 2


def test_two_processes_keep_each_others_choices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOCSEG_CACHE", str(tmp_path))
    one, other = Choices(), Choices()
    one.find("a", ["x"], lambda: {"x": 0.0})
    other.find("b", ["y"], lambda: {"y": 0.0})
    one.save()
    other.save()
    (file,) = tmp_path.iterdir()
    assert sorted(json.loads(file.read_text()).values()) == ["x", "y"]


def test_a_race_is_won_in_spite_of_one_slow_run() -> None:
    calls: list[str] = []

    def runner(name: str, seconds: float, hiccup: int) -> Callable[[], None]:
        def run() -> None:
            calls.append(name)
            time.sleep(0.1 if calls.count(name) == hiccup else seconds)

        return run

    runs = {"slow": runner("slow", 0.02, hiccup=0), "quick": runner("quick", 0.001, hiccup=2)}
    seconds = race(runs, 5)
    assert seconds["quick"] < 0.02 <= seconds["slow"]
    assert calls == ["slow", "quick"] * 6
    calls.clear()
    race(runs, 5, limit=0.01)
    assert calls == ["slow", "quick"] * 2  # to warm up, and one round


@pytest.mark.parametrize("content", ["", "{", "[1, 2]"])
def test_damaged_cache_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setenv("VOCSEG_CACHE", str(tmp_path))
    (tmp_path / f"choices-{machine_key()}.json").write_text(content)
    assert Choices().find("a", ["x", "y"], lambda: {"x": 1.0, "y": 0.0}) == "y"


def test_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VOCSEG_CACHE", str(tmp_path / "file"))
    choices = Choices()
    choices.find("a", ["x"], lambda: {"x": 0.0})
    choices.save()


def test_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOCSEG_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/vocseg")
