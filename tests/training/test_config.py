from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from vocseg.errors import SettingError
from vocseg.training.config import Settings, find_recipe, load_settings, read_settings, settings_of_stages


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
        ('lr = "fast"', "has lr = 'fast': it must be a number$"),
        ("crop = 1.5", "has crop = 1.5: it must be a whole number"),
        ("seed = true", "has seed = True: it must be a whole number"),
        ("tensorboard = 1", "has tensorboard = 1: it must be true or false"),
        ('schedule = "linear"', "has schedule = 'linear': it must be 'poly' or 'cosine' or 'constant'"),
        ("final_crop = [1]", r"has final_crop = \[1\]: it must be a whole number"),
        ("[[stages]]\nlr = 1\n[[stages]]\ncorp = 1", "stage 2, has unknown setting 'corp'; did you mean 'crop'"),
        ('[[stages]]\ncrop = "a"', "stage 1, has crop = 'a': it must be a whole number"),
        ('[[stages]]\nweights = "none"', "stage 1, sets weights, which is the same for all"),
        ("[stages]\nlr = 1", r"stages must be tables, \[\[stages\]\]"),
        ("[[stages]]\nepochs = 1\niterations = 2", "stage 1, sets both epochs and iterations"),
        ("stages = []", r"stages must be tables, \[\[stages\]\]"),
        ("stages = [1]", r"stages must be tables, \[\[stages\]\]"),
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


def test_stages(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("lr = 1\nfinal_crop = 96\niterations = 9\n[[stages]]\nepochs = 2\n[[stages]]\nlr = 0.5\nfinal_share = 0.5\n")
    values, stages = read_settings(path)
    settings = Settings(**values)
    first, second = settings_of_stages(settings, stages)
    assert first == Settings(lr=1, final_crop=96, epochs=2)
    assert second == Settings(lr=0.5, final_crop=96, iterations=9, final_share=0.5)
    with pytest.raises(SettingError, match="stage 2: final_share must be between 0 and 1, not 2"):
        settings_of_stages(settings, [{}, {"final_share": 2.0}])
    with pytest.raises(SettingError, match=r"c\.toml has 2 stages"):
        load_settings(path)


def test_every_setting_is_documented() -> None:
    import inspect

    source = inspect.getsource(Settings)
    for item in fields(Settings):
        line = source.index(f"\n    {item.name}: ")
        assert source[line + 1 :].splitlines()[1].strip().startswith('"""'), item.name


def test_recipes() -> None:
    assert load_settings(find_recipe("default")) == Settings()
    original = load_settings(find_recipe("original"))
    assert (original.batch_size, original.epochs, original.crop, original.augment) == (2, 30, 128, "center-square")
    assert (original.momentum, original.weight_decay, original.power, original.aux_weight) == (0.9, 1e-4, 0.9, 0.4)
    with pytest.raises(SettingError, match="no recipe 'orignal'; did you mean 'original'"):
        find_recipe("orignal")


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_are_settings(path: Path) -> None:
    values, stages = read_settings(path)
    settings = Settings(**{"teacher": "deeplabv3_mobilenet_v2", "soft_labels": "soft"} | values)
    for stage in settings_of_stages(settings, stages):
        assert stage.split == settings.split
