"""Training and scores on packed data are those on the folder, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import vocseg
from interrupted import killed_at_batch
from vocseg.data.layout import VocFolder
from vocseg.data.pack import pack
from vocseg.errors import DataError, SettingError
from vocseg.evaluation.pictures import Pictures
from vocseg.training.config import TrainConfig
from vocseg.training.folds import train_folds
from vocseg.training.run_folder import RunFolder


@pytest.fixture
def packed(synth: Path, tmp_path: Path) -> str:
    return str(pack(synth, tmp_path / "shards", images_per_shard=2).folder)


def fit(config: TrainConfig, out: Path, resume: RunFolder | None = None) -> RunFolder:
    return vocseg.train(config=replace(config, out=str(out)), resume=None if resume is None else resume.root).run


@pytest.mark.parametrize("workers", [1])
def test_weights_equal_those_of_the_folder(quick: TrainConfig, packed: str, tmp_path: Path, workers: int) -> None:
    """With all that draws images: copy-paste, repeats, soft limits of classes."""
    config = replace(quick, workers=workers, copy_paste=0.5, repeat_threshold=0.5, class_weights="auto")
    one, two = fit(config, tmp_path / "one"), fit(replace(config, data=packed), tmp_path / "two")
    assert one.last.read_bytes() == two.last.read_bytes()
    assert one.steps.read_bytes() == two.steps.read_bytes()


@pytest.mark.parametrize("killed_at", [2])
def test_resumed_run_equals_an_uninterrupted_one(
    quick: TrainConfig, packed: str, tmp_path: Path, often: None, killed_at: int
) -> None:
    config = replace(quick, data=packed, shuffle_buffer=3)
    whole = fit(config, tmp_path / "whole")
    with killed_at_batch(killed_at):
        fit(config, tmp_path / "run")
    resumed = fit(config, tmp_path / "run", RunFolder.open(tmp_path / "run"))
    assert resumed.last.read_bytes() == whole.last.read_bytes()
    assert resumed.read_steps() == whole.read_steps()
    assert whole.last.read_bytes() != fit(replace(config, shuffle_buffer=0), tmp_path / "other").last.read_bytes()


def test_a_run_is_resumed_on_the_same_images_only(quick: TrainConfig, packed: str, tmp_path: Path, damaged: Path) -> None:
    """A folder and its shards are the same images."""
    run = fit(quick, tmp_path / "run")
    fit(replace(quick, data=packed, epochs=4), tmp_path / "run", run)
    (damaged / "JPEGImages" / "synth_000001.jpg").write_bytes((damaged / "JPEGImages" / "synth_000002.jpg").read_bytes())
    (damaged / "SegmentationClass" / "synth_000001.png").write_bytes((damaged / "SegmentationClass/synth_000002.png").read_bytes())
    other = str(pack(damaged, tmp_path / "other").folder)
    with pytest.raises(SettingError, match="the files of split train have changed since"):
        fit(replace(quick, data=other, epochs=5), tmp_path / "run", run)


def test_a_shuffle_buffer_needs_packed_data(quick: TrainConfig, packed: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"shuffle_buffer is for packed data, not for .*data, which is not packed"):
        fit(replace(quick, shuffle_buffer=5), tmp_path / "run")


def test_scores_and_counts_equal_those_of_the_folder(synth: Path, packed: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = vocseg.create_model("two_layer_net", VocFolder.find(synth).classes)
    one, two = (vocseg.evaluate(model, data, out=tmp_path / name) for data, name in ((synth, "one"), (packed, "two")))
    assert one.to_dict()["per_class"] == two.to_dict()["per_class"]
    assert (tmp_path / "one/per_image.csv").read_bytes() == (tmp_path / "two/per_image.csv").read_bytes()
    scored = [vocseg.score(tmp_path / "one/masks", data) for data in (synth, packed)]
    assert scored[0].miou == scored[1].miou == one.miou
    for number in (1, 2):
        vocseg.evaluate(model, packed, out=tmp_path / "parts", shard=f"{number}/2")
    assert vocseg.merge(tmp_path / "parts").scores == one.scores
    assert one.record is not None
    pages = [Pictures(VocFolder.find(data), [tmp_path / "one/masks"], one.record) for data in (synth, packed)]
    assert pages[0].figure("synth_000007", "") == pages[1].figure("synth_000007", "")


def test_the_doctor_finds_the_same(synth: Path, packed: str, tmp_path: Path) -> None:
    one, two = vocseg.examine(synth), vocseg.examine(packed)
    assert [finding.kind for finding in one.findings] == [finding.kind for finding in two.findings]
    assert one.pairs == two.pairs
    two.repair(tmp_path / "repaired")
    for path in (synth / "JPEGImages").iterdir():
        assert (tmp_path / "repaired/JPEGImages" / path.name).read_bytes() == path.read_bytes()


def test_folds_of_packed_data(packed: str, tmp_path: Path) -> None:
    quick = {"iterations": 1, "crop": 32, "batch_size": 1, "workers": 0}
    models = train_folds(packed, "two_layer_net", out=tmp_path / "folds", folds=2, **quick)
    found = vocseg.find_label_errors(packed, models, "train")
    assert found.to_dict()["data"]


def test_what_copies_files_says_how_to_unpack(packed: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is packed: `vocseg data unpack .* --out FOLDER` first"):
        vocseg.convert(packed, tmp_path / "coco", to="coco")
