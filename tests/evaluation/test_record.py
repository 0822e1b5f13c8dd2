"""Counts of each image: what is kept, saved, merged and refused."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import vocseg
from vocseg.data.dataset import SplitDataset
from vocseg.data.image_io import read_mask
from vocseg.errors import DataError, InputError, OutputError
from vocseg.evaluation.record import Record, truth_hash
from vocseg.evaluation.result import Evaluation, result_files
from vocseg.metrics import confusion_matrix

CLASSES = ("background", "cat", "dog")


def record(images: int, seed: int = 0, classes: tuple[str, ...] = CLASSES) -> Record:
    random = np.random.default_rng(seed)
    counts = random.integers(0, 9, (images, len(classes), len(classes))).astype(np.int32)
    ids = tuple(f"{seed}_{place:03}" for place in range(images))
    return Record(classes, ids, tuple(f"{place:x}" for place in range(images)), counts, random.random(images) * 1e3)


@pytest.fixture
def model(val_set: SplitDataset) -> vocseg.SegmentationModel:
    return vocseg.create_model("two_layer_net", val_set.classes, "none")


@pytest.fixture
def masks(val_set: SplitDataset, model: vocseg.SegmentationModel, tmp_path: Path) -> Path:
    vocseg.evaluate(model, val_set, device="cpu", save_masks=tmp_path / "masks")
    return tmp_path / "masks"


def test_each_image_has_its_own_matrix(val_set: SplitDataset, masks: Path) -> None:
    result = vocseg.score(masks, val_set)
    assert result.record is not None
    for place, name in enumerate(val_set.names):
        truth = val_set[place].mask
        matrix = confusion_matrix(read_mask(masks / f"{name}.png"), truth, len(val_set.classes))
        assert torch.equal(torch.from_numpy(result.record.matrices[place]).long(), matrix)
        assert (result.record.ids[place], result.record.truth[place]) == (name, truth_hash(truth))
    rows = result.per_image
    assert [row["id"] for row in rows] == val_set.names
    alone = result.subset([val_set.names[1]])
    assert (rows[1]["miou"], rows[1]["pixel_accuracy"]) == pytest.approx((alone.miou, alone.pixel_accuracy), abs=1e-12)


def test_evaluate_and_score_write_the_same_counts(val_set: SplitDataset, model: vocseg.SegmentationModel, tmp_path: Path) -> None:
    made = vocseg.evaluate(model, val_set, device="cpu", out=tmp_path / "a", batch_size=3)
    scored = vocseg.score(tmp_path / "a/masks", val_set, out=tmp_path / "b")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "masks", "per_image.csv", "per_image.npz", "reliability.svg", "scores.json",
    ]  # fmt: skip
    assert made.scores == scored.scores
    assert made.interval == scored.interval
    vocseg.score(tmp_path / "a/masks", val_set, out=tmp_path / "b")  # results of before may be replaced
    loaded = Evaluation.load(tmp_path / "a")
    assert loaded.to_dict() == made.to_dict()
    assert loaded.record is not None
    assert made.record is not None
    assert scored.record is not None
    assert np.array_equal(loaded.record.matrices, scored.record.matrices)
    assert np.isnan(scored.record.loss).all()
    assert loaded.loss == made.loss
    with open(tmp_path / "a/per_image.csv", newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == val_set.names


def test_loss_of_an_image_is_the_same_in_any_batch(val_set: SplitDataset, model: vocseg.SegmentationModel) -> None:
    one, many = (vocseg.evaluate(model, val_set, device="cpu", batch_size=size).record for size in (1, 4))
    assert one is not None
    assert many is not None
    assert np.array_equal(one.loss, many.loss)


@given(st.integers(0, 99), st.integers(1, 6), st.integers(1, 6), st.randoms())
@settings(max_examples=30, deadline=None)
def test_shards_merge_to_the_whole_in_any_order(seed: int, first: int, second: int, random: object) -> None:
    whole = record(first + second, seed)
    places = list(range(first + second))
    random.shuffle(places)  # type: ignore[attr-defined]
    parts = [Evaluation.from_record(whole.select(some), "val", {}) for some in (places[:first], places[first:])]
    merged, expected = parts[0].merge(parts[1]), Evaluation.from_record(whole, "val", {})
    assert merged.to_dict() == expected.to_dict()
    assert merged.record is not None
    assert merged.record.ids == whole.ids
    assert np.array_equal(merged.record.matrices, whole.matrices)


def test_what_cannot_be_merged_or_selected() -> None:
    first, second = record(3), record(3, 1)
    with pytest.raises(InputError, match="share 3 images; the first: 0_000"):
        first.merge(first)
    with pytest.raises(InputError, match="classes"):
        first.merge(record(3, 1, ("background", "cat")))
    with pytest.raises(InputError, match="'x' is not among the 3"):
        first.subset(["x"])
    with pytest.raises(InputError, match="twice"):
        first.subset(["0_001", "0_001"])
    assert len(first.merge(second)) == 6
    with pytest.raises(InputError, match="not kept"):
        Evaluation(Evaluation.from_record(first, "val", {}).scores, None, 3, "val", 0.0).per_image  # noqa: B018


def test_equal_records_give_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        record(5).save(tmp_path / name)
    assert (tmp_path / "a/per_image.npz").read_bytes() == (tmp_path / "b/per_image.npz").read_bytes()


def test_an_evaluation_is_that_of_its_record(val_set: SplitDataset, model: vocseg.SegmentationModel) -> None:
    result = vocseg.evaluate(model, val_set, device="cpu")
    assert result.record is not None
    shuffled = Evaluation.from_record(result.record.select([2, 0, 3, 1]), result.split, result.about, result.seconds)
    assert shuffled.to_dict() == result.to_dict()  # the loss too, to the last bit


def test_damaged_results_are_one_line(tmp_path: Path) -> None:
    result = Evaluation.from_record(record(5), "val", {"data": "data"})
    with pytest.raises(DataError, match=r"scores\.json"):
        Evaluation.load(tmp_path)
    (tmp_path / "scores.json").write_text("[]")
    with pytest.raises(DataError, match="holds no scores"):
        Evaluation.load(tmp_path)
    (tmp_path / "scores.json").unlink()
    result.save(tmp_path)
    whole = (tmp_path / "per_image.npz").read_bytes()
    (tmp_path / "per_image.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cannot read .*per_image\.npz"):
        Evaluation.load(tmp_path)
    for place in range(0, len(whole), 37):
        (tmp_path / "per_image.npz").write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        with contextlib.suppress(DataError):  # and nothing else
            Evaluation.load(tmp_path)
    arrays = dict(np.load(io.BytesIO(whole)))
    for name, values in itertools.product(("ids", "truth", "classes", "matrices", "loss"), (np.array(3), np.array(["a"] * 5))):
        np.savez(tmp_path / "per_image.npz", **arrays | {name: values})
        with contextlib.suppress(DataError):
            Evaluation.load(tmp_path)
    np.savez(tmp_path / "per_image.npz", **arrays | {"ids": np.array(["a"] * 5)})
    with pytest.raises(DataError, match="twice"):
        Evaluation.load(tmp_path)
    record(4).save(tmp_path)
    with pytest.raises(DataError, match="not of one evaluation"):
        Evaluation.load(tmp_path)
    (tmp_path / "per_image.npz").unlink()
    with pytest.raises(DataError, match="--out writes it"):
        Evaluation.load(tmp_path)


def test_results_never_replace_the_data(val_set: SplitDataset, masks: Path) -> None:
    with pytest.raises(OutputError):
        vocseg.score(masks, val_set, out=val_set.folder.root / "SegmentationClass")
    assert [path.name for path in result_files("a")] == ["scores.json", "per_image.npz", "per_image.csv", "reliability.svg"]
