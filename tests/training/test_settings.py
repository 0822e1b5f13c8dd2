from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from vocseg.errors import SettingError
from vocseg.training.settings import Settings, find_recipe, load_settings, read_settings


def test_round_trip(tmp_path: Path) -> None:
    settings = Settings(data="some where", iterations=7, lr=1e-5, out="runs/ä")
    settings.save(tmp_path / "config.toml")
    assert load_settings(tmp_path / "config.toml") == settings
    assert load_settings(tmp_path / "config.toml", lr=0.5).lr == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lerning_rate = 1", "has unknown setting 'lerning_rate'"),
        ("batch_sise = 1", "unknown setting 'batch_sise'; did you mean 'batch_size'"),
        ("lr = ", "is not TOML"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(SettingError, match=message):
        read_settings(tmp_path / "c.toml")
    with pytest.raises(SettingError, match=r"cannot read settings .*none\.toml"):
        read_settings(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("batch_size", 0, "batch_size must be at least 1, not 0"),
        ("lr", -1.0, "lr must be at least 0"),
        ("epochs", 0, "epochs must be above 0"),
        ("epochs", float("nan"), "epochs must be a finite number, not nan"),
        ("lr", float("inf"), "lr must be a finite number, not inf"),
    ],
)
def test_ranges(name: str, value: float, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Settings(**{name: value})


def test_every_setting_is_documented() -> None:
    import inspect

    source = inspect.getsource(Settings)
    for item in fields(Settings):
        line = source.index(f"\n    {item.name}: ")
        assert source[line + 1 :].splitlines()[1].strip().startswith('"""'), item.name


def test_recipes() -> None:
    assert load_settings(find_recipe("default")) == Settings()
    original = load_settings(find_recipe("original"))
    assert (original.batch_size, original.epochs, original.crop, original.augment) == (2, 30, 128, "centre-square")
    assert (original.momentum, original.weight_decay, original.power, original.aux_weight) == (0.9, 1e-4, 0.9, 0.4)
    with pytest.raises(SettingError, match="no recipe 'orignal'; did you mean 'original'"):
        find_recipe("orignal")
