"""Recipes in stages against the same runs one by one."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vocseg.errors import OutputError, SettingError, TrainingStopped
from vocseg.models import read_info
from vocseg.training import loop as trainer
from vocseg.training import setup as job
from vocseg.training.config import Changes, Settings, load_settings, read_settings
from vocseg.training.run_folder import RunFolder
from vocseg.training.stages import train_in_stages
from vocseg.utils.text import percent

STAGES: list[Changes] = [
    {"epochs": 2, "schedule": "constant"},
    {"iterations": 3, "crop": 32, "seed": 1, "ema": 0.0, "mask_dir": "SegmentationClass"},
    {"iterations": 2, "lr": 0.005, "final_crop": 40, "final_share": 0.5},
]


@pytest.fixture
def settings(quick: Settings) -> Settings:
    return replace(quick, ema=0.9, weights="none", checkpoint_iterations=1)


def same(one: RunFolder, two: RunFolder) -> bool:
    files = [(getattr(one, name), getattr(two, name)) for name in ("last", "last_average", "best")]
    assert one.last.is_file()
    return one.read_steps() == two.read_steps() and all(
        a.is_file() == b.is_file() and (not a.is_file() or a.read_bytes() == b.read_bytes()) for a, b in files
    )


def by_hand(settings: Settings, folder: Path) -> list[RunFolder]:
    first = trainer.train(replace(settings, **STAGES[0], out=str(folder / "first")))
    second = trainer.train(replace(settings, **STAGES[1], out=str(folder / "second"), weights=str(first.last_average)))
    third = trainer.train(replace(settings, **STAGES[2], out=str(folder / "third"), weights=str(second.last)))
    return [first, second, third]


def test_stages_are_runs_from_the_weights_before(settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    runs = train_in_stages(settings, STAGES)
    assert [run.root.relative_to(tmp_path).as_posix() for run in runs] == ["run/1", "run/2", "run/3"]
    assert not runs[1].last_average.exists()
    best = max(runs, key=lambda run: read_info(run.best).scores["val"]["miou"])
    assert caplog.messages[-1] == (
        f"all 3 stages of {tmp_path / 'run'} are complete; "
        f"best val mIoU {percent(read_info(best.best).scores['val']['miou'])}; model {best.best}"
    )
    for run, alone in zip(runs, by_hand(settings, tmp_path), strict=True):
        assert same(run, alone)
        assert run.report.read_text(encoding="utf-8").startswith(f"# run/{run.root.name}\n")


def test_the_whole_folders_config_gives_the_stages_again(settings: Settings, tmp_path: Path) -> None:
    runs = train_in_stages(settings, STAGES)
    values, found = read_settings(tmp_path / "run" / "config.toml")
    again = train_in_stages(Settings(**values | {"out": str(tmp_path / "again")}), found)
    assert all(same(run, other) for run, other in zip(runs, again, strict=True))
    with pytest.raises(OutputError, match=r"run holds a run already; go on with --resume .*run,"):
        train_in_stages(settings, STAGES)


def test_a_model_file_goes_through_the_stages(settings: Settings, tmp_path: Path) -> None:
    start = trainer.train(replace(settings, iterations=1, out=str(tmp_path / "start")))
    first, second = train_in_stages(replace(settings, model=str(start.last), weights=None), [{"iterations": 1}, {"iterations": 1}])
    assert load_settings(second.config).model == str(first.last_average)
    alone = trainer.train(replace(settings, model=str(first.last_average), weights=None, iterations=1, out=str(tmp_path / "alone")))
    assert same(second, alone)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("saves", [0, 2, 3, 7])
def test_killed_anywhere_and_resumed_is_as_never_killed(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saves: int
) -> None:
    whole = train_in_stages(replace(settings, out=str(tmp_path / "whole")), STAGES)
    with monkeypatch.context() as patch:
        save, count = RunFolder.save_state, iter(range(100))

        def killed(run: RunFolder, state: dict[str, Any], keep: int) -> None:
            if next(count) == saves:
                raise Killed
            save(run, state, keep)

        patch.setattr(RunFolder, "save_state", killed)
        with pytest.raises(Killed):
            train_in_stages(settings, STAGES)
    values, found = read_settings(tmp_path / "run" / "config.toml")
    runs = train_in_stages(Settings(**values), found, RunFolder.open(tmp_path / "run"))
    assert all(same(run, other) for run, other in zip(runs, whole, strict=True))


@pytest.mark.parametrize("moment", [1, 3])
def test_a_signal_stops_all_stages(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int) -> None:
    """Within the first stage, and at its end, when there is nothing of the stage left to stop."""
    original = job.training_batches

    def interrupted(*arguments: Any) -> Iterator[Any]:
        for number, batch in enumerate(original(*arguments), 1):
            if number == moment:
                signal.raise_signal(signal.SIGTERM)
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(job, "training_batches", interrupted)
        place = "after stage 1" if moment == 3 else "at iteration 1"
        with pytest.raises(TrainingStopped, match=rf"stopped by SIGTERM {place}; go on with: vocseg train --resume \S*/run$"):
            train_in_stages(settings, STAGES)
    assert not (tmp_path / "run" / "2").exists()
    runs = train_in_stages(settings, STAGES, RunFolder.open(tmp_path / "run"))
    assert [run.report.is_file() for run in runs] == [True, True, True]


def test_what_a_resumed_folder_must_keep(settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train_in_stages(settings, STAGES)
    resumed = RunFolder.open(tmp_path / "run")
    for changed in ([STAGES[0], STAGES[1], STAGES[2] | {"lr": 0.5}], [STAGES[0] | {"epochs": 3}, *STAGES[1:]]):
        with pytest.raises(SettingError, match=r"cannot resume (with another lr|\S+ with other epochs or iterations)"):
            train_in_stages(settings, changed, resumed)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run").rglob("*") if path.is_file()}
    caplog.clear()
    train_in_stages(replace(settings, workers=1), STAGES, resumed)
    assert "all 3 stages of" in caplog.text
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_nothing_is_written_before_the_first_stage_is_checked(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="batch_size 4000 is larger"):
        train_in_stages(replace(settings, batch_size=4000), STAGES)
    with pytest.raises(SettingError, match="stage 3: lr must be at least 0"):
        train_in_stages(settings, [*STAGES[:2], {"lr": -1.0}])
    with pytest.raises(SettingError, match="stage 3: unknown loss 'foo'"):
        train_in_stages(settings, [*STAGES[:2], {"loss": "foo"}])
    assert not (tmp_path / "run").exists()


def test_what_a_resumed_folder_may_change_lasts(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(trainer._Training, "_end", lambda self: None)  # no report: the stage is not at its end
        train_in_stages(settings, STAGES[:1])
    shutil.copytree(settings.data, tmp_path / "moved")
    (run,) = train_in_stages(replace(settings, data=str(tmp_path / "moved")), STAGES[:1], RunFolder.open(tmp_path / "run"))
    assert run.report.is_file()
    assert read_settings(tmp_path / "run" / "config.toml")[0]["data"] == str(tmp_path / "moved")
