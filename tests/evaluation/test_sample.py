"""Which images a model was trained on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from vocseg import voc
from vocseg.data.layout import VocFolder
from vocseg.evaluation.sample import fold_of, fold_split, held_out
from vocseg.models import ModelInfo


def info(trained_on: str | None) -> ModelInfo:
    return ModelInfo("net", ("background", "cat"), trained_on=trained_on)


def test_folds_are_about_equal_and_never_move() -> None:
    counts = Counter(fold_of(f"2007_{number:06}", 5) for number in range(5000))
    assert sorted(counts) == [1, 2, 3, 4, 5]
    assert all(900 < count < 1100 for count in counts.values())
    assert [fold_of(name, 3) for name in ("2007_000032", "a", "ä")] == [fold_of(name, 3) for name in ("2007_000032", "a", "ä")]


def test_the_images_of_a_split(synth: Path) -> None:
    folder = VocFolder.find(synth)
    train, val = folder.ids("train"), folder.ids("val")
    rule = held_out(info(f"{folder.root.name} train ({len(train)} images, masks {voc.MASKS})"), folder)
    assert [rule(name) for name in (*train, *val)] == [False] * len(train) + [True] * len(val)


def test_the_images_of_a_fold(synth: Path) -> None:
    folder = VocFolder.find(synth)
    train = folder.ids("train")
    kept = [name for name in train if fold_of(name, 2) != 1]
    rule = held_out(info(f"{folder.root.name} {fold_split('train', 1, 2)} ({len(kept)} images, masks {voc.MASKS})"), folder)
    assert [rule(name) for name in train] == [name not in kept for name in train]
    assert all(rule(name) for name in folder.ids("val"))


UNKNOWN = [
    None, "many images", "other train (6 images, masks SegmentationClass)", "{} none (6 images, masks SegmentationClass)",
    "{} train (7 images, masks SegmentationClass)",
]  # fmt: skip


@pytest.mark.parametrize("trained_on", UNKNOWN)
def test_what_is_not_known(synth: Path, trained_on: str | None) -> None:
    folder = VocFolder.find(synth)
    rule = held_out(info(trained_on and trained_on.format(folder.root.name)), folder)
    assert rule(folder.ids("train")[0]) is None
