from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vocseg.data.dataset import VocDataset
from vocseg.data.layout import VocFolder
from vocseg.doctor.split_summary import check_split
from vocseg.training.config import Settings
from vocseg.training.dry_run import RateSearch, dry_run, find_rate, plot_rates
from vocseg.training.setup import prepare


@pytest.fixture
def quick(synth: Path) -> Settings:
    return Settings(data=str(synth), model="simple_conv_net", crop=24, batch_size=4, workers=0, precision="float32", device="cpu")


def test_dry_run_tells_the_plan_and_writes_nothing(quick: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = "\n".join(dry_run(prepare(replace(quick, epochs=10, tuned_batch_size=8))).lines)
    assert "15 iterations of 4 images, 10 epochs" in lines
    assert "learning rate 0.001 (the recipe's 0.002 for batches of 8)" in lines
    assert "s a step" in lines
    summary = check_split(VocDataset(VocFolder.find(quick.data), "train"))
    for label, name in enumerate(summary.classes):
        share = int(summary.pixels[label]) / int(summary.pixels[: len(summary.classes)].sum())
        assert re.search(rf"^{name} +{summary.images_per_class[label]} +{100 * share:.2f}% ", lines, re.MULTILINE)
    assert "memory:" in lines
    assert not list(tmp_path.iterdir())


def test_suggestion_is_where_the_loss_falls_fastest() -> None:
    rates = [10 ** (-6 + 0.1 * i) for i in range(60)]
    losses = [3 - 2 / (1 + math.exp(-4 * (math.log10(rate) + 3))) + (10 * rate if rate > 0.1 else 0) for rate in rates]
    assert RateSearch(rates, losses).suggestion == pytest.approx(1e-3, rel=0.5)


def test_a_single_step_does_not_decide() -> None:
    rates = [10 ** (-6 + 0.06 * i) for i in range(100)]
    losses = [3 - 1 / (1 + math.exp(-4 * (math.log10(rate) + 2.5))) + (30 * (rate - 0.1) if rate > 0.1 else 0) for rate in rates]
    dip = next(i for i, rate in enumerate(rates) if rate > 0.1)
    losses[dip - 1], losses[dip] = 2.2, 1.7  # up, and far down, just before it explodes
    assert RateSearch(rates, losses).suggestion == pytest.approx(10**-2.5, rel=0.5)


@given(st.lists(st.floats(0.1, 10), min_size=3, max_size=60))
def test_a_suggestion_is_one_of_the_rates_up_to_the_least_loss(losses: list[float]) -> None:
    rates = [1e-6 * 1.2**i for i in range(len(losses))]
    suggestion = RateSearch(rates, losses).suggestion
    assert suggestion in rates[: max(10, losses.index(min(losses)) + 1)]


def test_search_on_data(quick: Settings, tmp_path: Path) -> None:
    search = find_rate(prepare(quick), count=30)
    assert 1e-6 <= search.suggestion < 1
    plot_rates(search, tmp_path / "rates.png")
    with Image.open(tmp_path / "rates.png") as image:
        assert image.size[0] > 300


def test_search_stops_where_the_loss_explodes(quick: Settings) -> None:
    search = find_rate(prepare(quick), low=1e-3, high=1e6, count=40)
    assert search.rates[-1] < 1e6
