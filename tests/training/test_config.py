from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from vocseg.errors import SettingError
from vocseg.training.config import GROUPS, TrainConfig, find_recipe, load_config, read_config


def test_round_trip(tmp_path: Path) -> None:
    settings = TrainConfig(data="some where", iterations=7, lr=1e-5, out="runs/ä")
    settings.save(tmp_path / "config.toml")
    assert load_config(tmp_path / "config.toml") == settings
    assert load_config(tmp_path / "config.toml", lr=0.5).lr == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lerning_rate = 1", "unknown setting 'lerning_rate'"),
        ("batch_sise = 1", "unknown setting 'batch_sise'; did you mean 'batch_size'"),
        ("lr = ", "is not TOML"),
        ('lr = "fast"', "lr must be a number, not 'fast'"),
        ("crop = 1.5", "crop must be an integer, not 1.5"),
        ("seed = true", "seed must be an integer, not True"),
        ("tensorboard = 1", "tensorboard must be true or false, not 1"),
        ('schedule = "linear"', "schedule must be 'poly' or 'cosine' or 'constant', not 'linear'"),
        ("iterations = [1]", r"iterations must be an integer, not \[1\]"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(SettingError, match=message):
        read_config(tmp_path / "c.toml")
    with pytest.raises(SettingError, match=r"cannot read settings .*none\.toml"):
        read_config(tmp_path / "none.toml")


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
        TrainConfig(**{name: value})


def test_every_setting_is_documented() -> None:
    import inspect

    source = inspect.getsource(TrainConfig)
    for item in fields(TrainConfig):
        line = source.index(f"\n    {item.name}: ")
        assert source[line + 1 :].splitlines()[1].strip().startswith('"""'), item.name


def test_recipes() -> None:
    assert load_config(find_recipe("default")) == TrainConfig()
    original = load_config(find_recipe("original"))
    assert (original.batch_size, original.epochs, original.crop, original.augment) == (2, 30, 128, "center-square")
    assert (original.weight_decay, original.optimizer, original.loss) == (1e-4, "sgd", "cross-entropy")
    with pytest.raises(SettingError, match="no recipe 'orignal'; did you mean 'original'"):
        find_recipe("orignal")


@pytest.mark.parametrize("path", sorted(find_recipe("default").parent.glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_are_settings(path: Path) -> None:
    assert TrainConfig(**{"teacher": "deeplabv3_mobilenet_v2"} | read_config(path))


def test_every_setting_has_a_group() -> None:
    groups = [item.metadata["group"] for item in fields(TrainConfig)]
    assert list(dict.fromkeys(groups)) == list(GROUPS)  # and the fields of each are together
