"""Comparisons of results, from Python and from the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vocseg
from verbs import Run, fails
from vocseg.data.dataset import SplitDataset
from vocseg.errors import InputError
from vocseg.evaluation.record import Record
from vocseg.evaluation.result import Evaluation
from vocseg.evaluation.sheets import save_sheets
from vocseg.evaluation.statistics import scores_of


def evaluation(images: int = 12, seed: int = 0, better: int = 0) -> Evaluation:
    random = np.random.default_rng(seed)
    counts = random.integers(0, 9, (images, 3, 3)).astype(np.int32)
    counts[:, [0, 1, 2], [0, 1, 2]] += better
    ids, truth = (tuple(f"{kind}_{place:03}" for place in range(images)) for kind in (0, "truth"))
    record = Record(("background", "cat", "dog"), ids, truth, counts, random.random(images))
    return Evaluation.from_record(record, "val", {"model": f"m{seed}"})


def test_difference_is_that_of_the_scores() -> None:
    a, b = evaluation(seed=1), evaluation(seed=2, better=30)
    result = vocseg.compare(a, b)
    assert (result.miou.first, result.miou.second) == (a.miou, b.miou)
    assert a.miou is not None
    assert b.miou is not None
    assert result.miou.interval is not None
    assert result.miou.difference == pytest.approx(b.miou - a.miou)
    assert 0 < result.miou.interval.low < result.miou.difference < result.miou.interval.high
    assert result.p_value < 0.01
    for name, row in result.per_class.items():
        assert (row.first, row.second) == (a.per_class[name].iou, b.per_class[name].iou)
    back = vocseg.compare(b, a)
    assert back.miou.difference == -result.miou.difference
    assert back.miou.interval == pytest.approx((-result.miou.interval.high, -result.miou.interval.low))
    assert vocseg.compare(a, b).to_dict() == result.to_dict()


def test_effect_of_an_image_is_what_is_lost_without_it() -> None:
    a, b = evaluation(seed=3), evaluation(seed=4)
    result = vocseg.compare(a, b)
    assert a.record is not None
    assert b.record is not None
    effects = dict(result.images)
    assert list(effects.values()) == sorted(effects.values(), reverse=True)
    for name in a.record.ids:
        rest = [other for other in a.record.ids if other != name]
        without = [scores_of(side.subset(rest).counts.sum(0))[-1] for side in (a.record, b.record)]
        assert result.miou.difference is not None
        assert effects[name] == pytest.approx(result.miou.difference - (without[1] - without[0]), abs=1e-12)


def test_order_of_the_images_does_not_matter() -> None:
    a, b = evaluation(seed=1), evaluation(seed=2)
    assert b.record is not None
    shuffled = Evaluation.from_record(b.record.select(range(len(b.record) - 1, -1, -1)), "val", b.about)
    assert vocseg.compare(a, shuffled).to_dict() == vocseg.compare(a, b).to_dict()
    assert vocseg.compare(shuffled, a).to_dict() == vocseg.compare(b, a).to_dict()


def test_several_runs_a_side() -> None:
    runs = [evaluation(seed=seed) for seed in range(5)]
    result = vocseg.compare(runs[:2], runs[2:])
    means = [np.mean([run.miou for run in side]) for side in (runs[:2], runs[2:])]
    assert (result.miou.first, result.miou.second) == pytest.approx(tuple(means))
    assert result.runs == (2, 3)
    assert result.spread[1] == pytest.approx(np.std([run.miou for run in runs[2:]], ddof=1))
    one = vocseg.compare(runs[0], runs[2])
    assert one.spread == (None, None)


def test_what_cannot_be_compared_is_named() -> None:
    a = evaluation()
    own = a.record
    assert own is not None
    with pytest.raises(InputError, match=r"same images: 1 differ; 0_011 is only in m0"):
        vocseg.compare(a, replace(a, record=own.select(range(11)), about={"model": "other"}))
    truth = tuple("x" if place == 2 else value for place, value in enumerate(own.truth))
    with pytest.raises(InputError, match="other ground truth: 1 masks differ, first 0_002"):
        vocseg.compare(a, replace(a, record=replace(own, truth=truth)))
    with pytest.raises(InputError, match="other classes"):
        vocseg.compare(a, replace(a, record=replace(own, classes=("background", "dog", "cat"))))
    with pytest.raises(InputError, match="no counts"):
        vocseg.compare(a, replace(a, record=None))
    with pytest.raises(InputError, match="two images"):
        vocseg.compare(a.subset(own.ids[:1]), a.subset(own.ids[:1]))
    with pytest.raises(InputError, match="no results"):
        vocseg.compare(a, [])


def test_verb_and_sheets(val_set: SplitDataset, tmp_path: Path, run: Run) -> None:
    data = str(val_set.folder.root)
    for name, model in (("a", "two_layer_net"), ("b", "simple_conv_net")):
        network = vocseg.create_model(model, val_set.classes, "none")
        vocseg.evaluate(network, data, device="cpu", out=tmp_path / name)
    verb = ("compare", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "sheets")
    fails(run(*verb), "not at hand: name its folder (--data)")  # results do not say where on this machine the data was
    code, text, _ = run(*verb, "--data", data, "--json", tmp_path / "c.json")
    assert code == 0
    assert "B - A: " in text
    assert "4 images are few" in text
    values = json.loads((tmp_path / "c.json").read_text())
    assert {"difference", "interval", "p_value", "per_class", "images"} <= values.keys()
    comparison = vocseg.compare(tmp_path / "a", tmp_path / "b")
    assert values == comparison.to_dict()
    fails(run(*verb[:3], "--json", tmp_path / "b" / "scores.json"), "would replace the input", "scores.json")
    sheets = sorted((tmp_path / "sheets").iterdir())
    assert sheets
    assert all(Image.open(sheet).width > 900 for sheet in sheets)
    assert sheets == sorted(save_sheets(comparison, tmp_path / "a", tmp_path / "b", tmp_path / "sheets", data=data))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give two folders of results"),
        (["a"], "two folders of results, not 1"),
        (["a", "b", "--a", "c"], "not both"),
        (["a", "b"], "a/scores.json"),
        (["--a", "a", "b", "--b", "c", "--out", "o"], "--out draws sheets for two results"),
    ],
)
def test_wrong_use(arguments: list[str], message: str, run: Run) -> None:
    fails(run("compare", *arguments), message)
