from __future__ import annotations

import json
from pathlib import Path

import pytest

from vocseg.models.choices import Choices, cache_folder, machine_key


def counting(costs: dict[str, float]) -> tuple[list[str], object]:
    asked: list[str] = []

    def cost(name: str) -> float:
        asked.append(name)
        return costs[name]

    return asked, cost


def test_cheapest_once_and_from_disk_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOCSEG_CACHE", str(tmp_path / "cache"))
    asked, cost = counting({"slow": 2.0, "quick": 1.0})
    choices = Choices()
    assert choices.find("layer", ["slow", "quick"], cost) == "quick"
    assert choices.find("layer", ["slow", "quick"], cost) == "quick"
    assert asked == ["slow", "quick"]
    choices.save()
    assert Choices().find("layer", ["slow", "quick"], cost) == "quick"
    assert len(asked) == 2
    # a way that is no longer there is not taken on trust
    assert Choices().find("layer", ["slow"], cost) == "slow"


def test_two_processes_keep_each_others_choices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOCSEG_CACHE", str(tmp_path))
    one, other = Choices(), Choices()
    one.find("a", ["x"], lambda _: 0.0)
    other.find("b", ["y"], lambda _: 0.0)
    one.save()
    other.save()
    (file,) = tmp_path.iterdir()
    assert sorted(json.loads(file.read_text()).values()) == ["x", "y"]


@pytest.mark.parametrize("content", ["", "{", "[1, 2]"])
def test_damaged_cache_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setenv("VOCSEG_CACHE", str(tmp_path))
    (tmp_path / f"choices-{machine_key()}.json").write_text(content)
    assert Choices().find("a", ["x", "y"], lambda name: name == "x") == "y"


def test_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VOCSEG_CACHE", str(tmp_path / "file"))
    choices = Choices()
    choices.find("a", ["x"], lambda _: 0.0)
    choices.save()


def test_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOCSEG_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/vocseg")
