from __future__ import annotations

import gc
import itertools
import json
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from interrupted import Killed, killed_at_batch
from vocseg.cli.signals import StopSignals
from vocseg.data.dataset import SplitDataset
from vocseg.data.layout import VocFolder
from vocseg.errors import DataError, InputError, OutputError, SettingError, TrainingError, TrainingStopped
from vocseg.evaluation.evaluate import evaluate_split as evaluate
from vocseg.inference.segmenter import Segmenter
from vocseg.models import create_model, read_info, save_model
from vocseg.training import report, validation
from vocseg.training import run_folder as run_module
from vocseg.training import setup as train_setup
from vocseg.training.api import train
from vocseg.training.config import TrainConfig, load_config
from vocseg.training.optimizer import lr_factor
from vocseg.training.run_folder import RunFolder
from vocseg.training.setup import Schedule
from vocseg.utils.system import SIGNALS


def fit(config: TrainConfig, resume: RunFolder | None = None) -> RunFolder:
    return train(config=config, resume=None if resume is None else resume.root).run


def test_run_folder(quick: TrainConfig, synth: Path) -> None:
    run = fit(quick)
    assert load_config(run.config) == quick
    assert {"torch", "vocseg", "processor", "command"} <= set(json.loads((run.root / "environment.json").read_text()))
    rows = run.read_metrics()
    # 6 images in batches of 4: epochs end after 2, 3 and 5 steps
    assert [row["iteration"] for row in rows] == [2, 3, 5]
    for row in rows:
        for part in ("train", "val"):
            assert {"loss", "pixel_accuracy", "miou"} <= set(row[part])
            assert 0 <= row[part]["pixel_accuracy"] <= 1
    log = (run.root / "log.txt").read_text()
    assert "epoch 3/3" in log
    assert "best val mIoU" in log
    for path in (run.best, run.last):
        info = read_info(path)
        assert info.classes == VocFolder.find(synth).classes
        assert "6 images" in (info.trained_on or "")
    best = max(rows, key=lambda row: row["val"]["miou"])
    assert read_info(run.best).scores["val"]["miou"] == best["val"]["miou"]
    assert read_info(run.last).scores["val"]["miou"] == rows[-1]["val"]["miou"]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 300))
def test_schedule_ends_with_its_last_epoch(images: int, batch_size: int, iterations: int) -> None:
    schedule = Schedule.from_config(TrainConfig(batch_size=min(batch_size, images), iterations=iterations), images)
    ends = [schedule.end_of_epoch(epoch) for epoch in range(schedule.epochs + 1)]
    assert ends[0] == 0
    assert ends[-1] == schedule.total == iterations
    assert all(before < after for before, after in itertools.pairwise(ends))


def test_recorded_score_is_what_evaluate_gives(quick: TrainConfig, synth: Path) -> None:
    run = fit(quick)
    segmenter = Segmenter(str(run.last), device="cpu", precision="float32")
    result = evaluate(segmenter, SplitDataset(VocFolder.find(synth), "val"))
    recorded = run.read_metrics()[-1]["val"]
    assert recorded["miou"] == result.scores.miou
    assert recorded["loss"] == pytest.approx(result.loss, rel=1e-6)


def test_same_seed_same_run_and_another_seed_another(quick: TrainConfig, tmp_path: Path) -> None:
    losses = []
    for number, seed in enumerate((0, 0, 1)):
        run = fit(replace(quick, seed=seed, out=str(tmp_path / str(number)), workers=number))
        losses.append([row["train"]["loss"] for row in run.read_metrics()])
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


@pytest.fixture(scope="module", params=["simple_conv_net", "deeplabv3_mobilenet_v3_large"])
def uninterrupted(request: pytest.FixtureRequest, synth: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of five steps, of a network without and of one with dropout and batch norm."""
    torch.manual_seed(0)
    return fit(
        TrainConfig(
            data=str(synth), model=request.param, weights="none", crop=32, batch_size=4, epochs=3, lr=0.02,
            out=str(tmp_path_factory.mktemp("whole") / "run"), workers=0, precision="float32", device="cpu",
        )
    )  # fmt: skip


@pytest.mark.parametrize("killed_at", [1, 3, 4])
def test_resumed_run_equals_an_uninterrupted_one(quick: TrainConfig, often: None, uninterrupted: RunFolder, killed_at: int) -> None:
    whole = uninterrupted
    settings = load_config(whole.config, out=quick.out)
    with killed_at_batch(killed_at):
        fit(settings)
    resumed = fit(settings, RunFolder.open(quick.out or ""))
    one, two = (create_model(str(run.last)).network.state_dict() for run in (whole, resumed))
    assert all(torch.equal(one[key], two[key]) for key in one)
    keep = ("epoch", "iteration", "lr", "train")
    assert [{key: row[key] for key in keep} for row in whole.read_metrics()] == [
        {key: row[key] for key in keep} for row in resumed.read_metrics()
    ]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("killed_at", [1, 3, 7])
def test_killed_at_the_writing_of_a_file_loses_nothing(
    quick: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, often: None, killed_at: int, late: bool
) -> None:
    """As a file gets its name or just after, of the run and of two resumed ones."""
    settings = quick
    whole = fit(replace(settings, out=str(tmp_path / "whole")))
    rename, renamed = os.replace, 0

    def killed(source: Path, target: Path) -> None:
        nonlocal renamed
        renamed += 1
        if renamed != killed_at or late:
            rename(source, target)
        if renamed == killed_at:
            raise Killed

    run = None
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        for _ in range(3):
            renamed = 0
            with pytest.raises(Killed):
                fit(settings, run)
            run = RunFolder.open(quick.out or "") if (Path(quick.out or "") / "config.toml").exists() else None
    resumed = fit(settings, run)
    assert resumed.read_steps() == whole.read_steps()
    assert [row["train"] for row in resumed.read_metrics()] == [row["train"] for row in whole.read_metrics()]
    assert resumed.last.read_bytes() == whole.last.read_bytes()


def test_the_rate_follows_the_schedule(quick: TrainConfig) -> None:
    settings = replace(quick, iterations=5, schedule="cosine", warmup=2)
    rates = [rate for _, _, rate in fit(settings).read_steps()]
    assert rates == [settings.lr * lr_factor(iteration, 5, settings) for iteration in range(5)]


@pytest.mark.parametrize("number", SIGNALS)
def test_signals_save_and_say_how_to_resume(quick: TrainConfig, monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    original = train_setup.training_batches

    def interrupted(*arguments: Any) -> Iterator[Any]:
        batches = original(*arguments)
        signal.raise_signal(number)
        yield from batches

    before = signal.signal(number, signal.SIG_DFL)  # a shell's background jobs ignore some
    monkeypatch.setattr(train_setup, "training_batches", interrupted)
    message = rf"stopped by {number.name} at iteration 1; continue with: vocseg train --resume .*run"
    with StopSignals() as signals, pytest.raises(TrainingStopped, match=message):
        train(config=quick, should_stop=lambda: signals.received)
    state = RunFolder(Path(quick.out or "")).load_checkpoint()
    assert state is not None
    assert state["iteration"] == 1
    assert signal.getsignal(number) is signal.SIG_DFL
    signal.signal(number, before)


@pytest.mark.parametrize("patience", [0, 1])
def test_no_loader_process_outlives_the_training(quick: TrainConfig, patience: int) -> None:
    """Python waits at its end for one that does; the garbage collector, which may come in time, is switched off here."""
    before = multiprocessing.active_children()  # of a test before, where the collector has yet to come by
    gc.disable()
    try:
        fit(replace(quick, workers=1, patience=patience, lr=0.0))
        assert set(multiprocessing.active_children()) <= set(before)
    finally:
        gc.enable()


@pytest.mark.parametrize("patience", [1, 3])
def test_early_stopping_waits_for_as_many_epochs_as_patience_says(quick: TrainConfig, patience: int) -> None:
    run = fit(replace(quick, epochs=9, patience=patience, lr=0.0))  # nothing gets better than it was at first
    assert len(run.read_metrics()) == 1 + patience
    resumed = fit(load_config(run.config), RunFolder.open(quick.out or ""))
    assert len(resumed.read_metrics()) == 1 + patience


def test_a_runs_config_gives_its_losses_again(quick: TrainConfig, tmp_path: Path) -> None:
    """Bit for bit, with everything random in use."""
    settings = replace(quick, iterations=20, color_jitter=0.4, copy_paste=0.5, repeat_threshold=0.5, precision="auto", workers=1)
    first = fit(settings)
    again = fit(load_config(first.config, out=str(tmp_path / "again")))
    assert len(first.read_steps()) == 20
    assert first.steps.read_bytes() == again.steps.read_bytes()
    assert first.metrics.read_bytes() == again.metrics.read_bytes()


@pytest.fixture
def file_limit() -> Iterator[Callable[[int], None]]:
    """Sets the size, bytes, past which a file cannot be written: to the writer the same as a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


def test_a_full_disk_leaves_the_checkpoint_and_says_so(
    quick: TrainConfig, tmp_path: Path, often: None, file_limit: Callable[[int], None]
) -> None:
    settings = replace(quick, schedule="constant")
    whole = fit(replace(settings, out=str(tmp_path / "whole")))
    run = fit(replace(settings, epochs=1))
    state = run.checkpoints()[0]
    best = run.best.read_bytes()
    file_limit(state.stat().st_size // 2)
    with pytest.raises(OutputError, match=rf"^cannot write .*; continue with: vocseg train --resume {run.root}$") as error:
        fit(settings, run)
    file_limit(resource.RLIM_INFINITY)
    assert "\n" not in str(error.value)
    assert run.checkpoints()[0] == state
    assert run.best.read_bytes() == best
    assert not list(run.root.rglob("*.part"))
    fit(settings, run)
    assert RunFolder(whole.root).last.read_bytes() == run.last.read_bytes()


@pytest.mark.parametrize("state", [[1], {"iteration": 3}, {"iteration": 3, "network": {}}, None])
def test_a_checkpoint_that_holds_no_state_is_skipped(quick: TrainConfig, often: None, state: object) -> None:
    run = fit(replace(quick, epochs=1, schedule="constant"))
    newest, older = run.checkpoints()
    newest.write_bytes(b"")
    if state is not None:
        torch.save(state, newest)
    values = run.load_checkpoint()
    assert values is not None
    assert older.stem == f"state-{values['iteration']:09d}"
    assert len(fit(load_config(run.config, epochs=3), run).read_steps()) == 5


def test_validation_takes_the_official_masks(quick: TrainConfig, damaged: Path) -> None:
    """trainaug's masks have a folder of their own, which need not hold those of val."""
    names = VocFolder.find(damaged).ids("train")
    (damaged / "SegmentationClassAug").mkdir()
    for name in names:
        (damaged / "SegmentationClass" / f"{name}.png").rename(damaged / "SegmentationClassAug" / f"{name}.png")
    run = fit(replace(quick, data=str(damaged), mask_dir="SegmentationClassAug", iterations=1))
    assert run.read_metrics()[0]["val"]["images"] == 4
    (damaged / "SegmentationClass").rename(damaged / "Masks")
    for path in (damaged / "SegmentationClassAug").iterdir():
        path.rename(damaged / "Masks" / path.name)
    again = fit(replace(quick, data=str(damaged), mask_dir="Masks", iterations=1, out=str(run.root) + "2"))
    assert again.read_metrics()[0]["val"]["images"] == 4


def test_last_batch_of_one_does_not_break_batch_normalization(quick: TrainConfig, damaged: Path) -> None:
    # five images in batches of two: a plain loader's last batch would hold one
    names = VocFolder.find(damaged).ids("train")
    (damaged / "ImageSets" / "Segmentation" / "train.txt").write_text("\n".join(names[:5]))
    model = "deeplabv3_mobilenet_v3_large"
    run = fit(replace(quick, data=str(damaged), model=model, weights="none", crop=32, batch_size=2, epochs=2))
    assert [row["iteration"] for row in run.read_metrics()] == [3, 5]


def test_single_image_batches_are_refused_where_the_model_cannot(quick: TrainConfig) -> None:
    with pytest.raises(SettingError, match=r"cannot train with crop 32 \(batch norm needs more than one image: --batch-size 2"):
        fit(replace(quick, model="deeplabv3_mobilenet_v3_large", weights="none", crop=32, batch_size=1))
    assert not Path(quick.out or "").exists()
    fit(replace(quick, batch_size=1, iterations=2))


def test_all_void_batches_train_to_no_nan(quick: TrainConfig, damaged: Path) -> None:
    from vocseg import draw

    dataset = SplitDataset(VocFolder.find(damaged), "train")
    for index, name in enumerate(dataset.names[1:], 1):
        draw.save_mask(torch.full_like(dataset.read(index).mask, 255), dataset.folder.mask(name))
    run = fit(replace(quick, data=str(damaged), epochs=1, batch_size=1))
    losses = [loss for _, loss, _ in run.read_steps()]
    assert sorted(losses)[:5] == [0.0] * 5
    assert sorted(losses)[5] > 0
    assert run.read_metrics()[0]["val"]["loss"] is not None


def test_not_finite_loss_stops_with_the_images(quick: TrainConfig) -> None:
    with pytest.raises(TrainingError, match=r"iteration \d+: loss is (nan|inf) with images synth_0"):
        fit(replace(quick, lr=1e30, epochs=30))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"batch_size": 7}, SettingError, "batch_size 7 is larger than the split train of 6 images"),
        ({"split": "tran"}, DataError, "no split list"),
        ({"model": "simple_con_net"}, InputError, "did you mean 'simple_conv_net'"),
        ({"data": "/nowhere"}, DataError, "data folder /nowhere does not exist"),
        ({"model": "pspnet:resnet18", "weights": "none", "crop": 1, "batch_size": 1}, SettingError, "cannot train with crop 1"),
        ({"freeze": "backbone"}, SettingError, "simple_conv_net has no backbone to freeze"),
    ],
)
def test_bad_input_writes_nothing(quick: TrainConfig, change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fit(replace(quick, **change))
    assert not Path(quick.out or "").exists()


def test_a_share_of_one_image_is_refused_where_the_model_cannot(quick: TrainConfig) -> None:
    model = create_model("deeplabv3_mobilenet_v3_large", ["a", "b"], "none")
    with pytest.raises(SettingError, match="more than one image: --batch-size 4 or more"):
        train_setup._try_step(model, replace(quick, batch_size=2), processes=2, size=(24, 24))


@pytest.mark.parametrize(
    ("name", "unused"),
    [
        ("deeplabv3_mobilenet_v3_large", False),
        ("pspnet:resnet18", True),
        ("simple_conv_net", False),
    ],
)
def test_parameters_without_gradient_are_found(quick: TrainConfig, name: str, unused: bool) -> None:
    model = create_model(name, ["a", "b"], "none")
    assert train_setup._try_step(model, quick, processes=2, size=(32, 32)) == unused
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not train_setup._try_step(model, quick, processes=1, size=(32, 32))  # a single process need not know


def test_run_folders_are_not_overwritten(quick: TrainConfig, tmp_path: Path) -> None:
    fit(replace(quick, iterations=1))
    with pytest.raises(OutputError, match=r"already contains a run; use --resume"):
        fit(quick)
    with pytest.raises(InputError, match="it is not a run folder"):
        RunFolder.open(tmp_path)


def test_resume_of_another_run_is_refused(quick: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fit(replace(quick, iterations=1))
    with pytest.raises(SettingError, match="cannot resume with another model: the run has 'simple_conv_net', not 'two_layer_net'"):
        fit(replace(quick, model="two_layer_net"), run)
    with pytest.raises(SettingError, match=r"cannot resume with another lr: the run has 0\.02, not 0\.1; to start a new run"):
        fit(replace(quick, lr=0.1), run)
    monkeypatch.setattr(run_module, "LOCK_SECONDS", 0.0)
    with run.locked(), pytest.raises(InputError, match=r"another process is training in .*run"):
        fit(replace(quick, iterations=2), run)
    run.checkpoints()[0].write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"state-000000001\.pt is damaged"):
        fit(quick, run)


def test_a_resumed_run_may_be_longer_and_says_so(quick: TrainConfig, tmp_path: Path) -> None:
    run = fit(replace(quick, iterations=1))
    fit(replace(quick, iterations=4, tensorboard=False), run)
    assert load_config(run.config).iterations == 4
    # 6 images in batches of 4: the first epoch was cut short, and is then ended
    assert [(row["epoch"], row["iteration"]) for row in run.read_metrics()] == [(1, 1), (1, 2), (2, 3), (3, 4)]
    before = {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file() and path.name != "log.txt"}
    with pytest.raises(SettingError, match=r"cannot resume .*run with 3 iterations: it already has 4"):
        fit(replace(quick, iterations=3), run)
    assert {path: path.read_bytes() for path in before} == before


def test_a_moved_data_set_is_the_same(quick: TrainConfig, damaged: Path) -> None:
    run = fit(replace(quick, iterations=1))
    fit(replace(quick, iterations=2, data=str(damaged)), run)
    assert load_config(run.config).data == str(damaged)
    mask = next((damaged / "SegmentationClass").iterdir())
    Image.open(mask).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(mask)
    with pytest.raises(SettingError, match="on other data"):
        fit(replace(quick, iterations=3, data=str(damaged)), run)


def test_a_validation_that_is_not_finite_is_no_best(quick: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    real = validation.evaluate_split
    monkeypatch.setattr(validation, "evaluate_split", lambda *args, **more: replace(real(*args, **more), loss=float("nan")))
    with pytest.raises(TrainingError, match="the validation loss is nan after epoch 1"):
        fit(quick)
    assert not (Path(quick.out or "") / "best.safetensors").exists()


def test_without_tensorboard_nothing_is_written(quick: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "find_spec", lambda _: None)
    with pytest.raises(SettingError, match="tensorboard is not installed"):
        fit(replace(quick, tensorboard=True))
    assert not Path(quick.out or "").exists()


def shown_in_tensorboard(run: RunFolder) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.root / "tensorboard"))
    events.Reload()
    return events


def test_tensorboard_shows_what_was_measured(quick: TrainConfig, val_set: SplitDataset) -> None:
    run = fit(replace(quick, tensorboard=True, ema=0.5))
    events = shown_in_tensorboard(run)
    rows = run.read_metrics()
    for part in ("train", "val", "val_ema"):
        for key in ("loss", "miou", "pixel_accuracy"):
            shown = [(event.step, event.value) for event in events.Scalars(f"{key}/{part}")]
            assert shown == [(row["iteration"], pytest.approx(row[part][key])) for row in rows]
    for name, row in rows[-1]["val"]["per_class"].items():
        if row["iou"] is not None:
            assert events.Scalars(f"IoU/{name}")[-1].value == pytest.approx(row["iou"])
    images = [tag for tag in events.Tags()["images"] if tag.startswith("val/")]
    assert len(images) == report.OVERLAYS
    shown = events.Images(f"val/{val_set.names[0]}")
    assert [image.step for image in shown] == [row["iteration"] for row in rows]
    height, width = val_set.read(0).image.shape[1:]  # of the ground truth and the prediction, with a gap
    assert shown[0].height == height
    assert shown[0].width >= 2 * width


def test_tensorboard_shows_each_epoch_once_after_a_kill(quick: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(quick, tensorboard=True)
    with monkeypatch.context() as patch:
        save = RunFolder.save_checkpoint

        def killed(run: RunFolder, state: dict[str, Any]) -> None:
            if state["epoch"] == 3:  # the second one is done, validated and shown
                raise Killed
            save(run, state)

        patch.setattr(RunFolder, "save_checkpoint", killed)
        with pytest.raises(Killed):
            fit(settings)
    run = fit(settings, RunFolder.open(quick.out or ""))
    events = shown_in_tensorboard(run)
    assert [event.step for event in events.Scalars("miou/val")] == [row["iteration"] for row in run.read_metrics()]


def test_fine_tuning_a_model_file_keeps_its_protocol_but_not_its_temperature(quick: TrainConfig, tmp_path: Path) -> None:
    first = fit(replace(quick, iterations=1, augment="center-square"))
    model = create_model(str(first.best))
    save_model(first.best, model, replace(model.info, temperature=2.0))
    second = fit(replace(quick, model=str(first.best), iterations=1, lr=0.0, out=str(tmp_path / "second")))
    assert read_info(second.best).short_side == 24
    assert read_info(second.best).architecture == "simple_conv_net"
    assert read_info(second.best).temperature == 1.0
    one, two = (create_model(str(run.best)).network.state_dict() for run in (first, second))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_the_starting_model_is_epoch_0_and_may_be_the_best(quick: TrainConfig, tmp_path: Path) -> None:
    first = fit(quick)
    assert first.read_metrics()[0]["epoch"] == 1  # an untrained network is not scored
    assert "starting model" not in (first.root / "log.txt").read_text()
    worse = fit(replace(quick, model=str(first.best), lr=5.0, epochs=1, ema=0.5, out=str(tmp_path / "worse")))
    start, last = worse.read_metrics()
    assert (start["epoch"], start["iteration"]) == (0, 0)
    assert start["val"]["miou"] == read_info(first.best).scores["val"]["miou"] > last["val"]["miou"]
    one, two = (create_model(str(run.best)).network.state_dict() for run in (first, worse))
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert "no gain: no epoch is better than the starting model" in (worse.root / "log.txt").read_text()
    page = worse.report.read_text()
    assert "## Best: epoch 0 (the starting model)" in page
    assert "Try a lower lr and freeze = batch-norm" in page
    assert report.no_gain_advice(replace(quick, freeze="batch-norm")) == "Try a lower lr, or more images."
    assert f"(starting model: {100 * start['val']['miou']:.2f} %)" in (worse.root / "log.txt").read_text()


def test_a_killed_run_scores_its_starting_model_once(quick: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fit(quick)
    settings = replace(quick, model=str(first.best), out=str(tmp_path / "second"))
    with monkeypatch.context() as patch:
        patch.setattr(train_setup, "training_batches", lambda *_: (_ for _ in [0] if 1 / 0))
        with pytest.raises(ZeroDivisionError):
            fit(settings)
    run = fit(settings, RunFolder.open(settings.out or ""))
    assert [row["epoch"] for row in run.read_metrics()] == [0, 1, 2, 3]


def test_classes_that_are_not_found_are_named(quick: TrainConfig) -> None:
    run = fit(replace(quick, lr=0.0, iterations=1))
    per_class = run.read_metrics()[0]["val"]["per_class"]
    missed = ", ".join(name for name, row in per_class.items() if row["iou"] == 0 and row["true_pixels"])
    line = f"warning: IoU 0 for {missed}: try class_weights = auto or repeat_threshold = 0.25 or more epochs"
    assert missed
    assert line in run.report.read_text()
    assert line in (run.root / "log.txt").read_text()
    rows = run.read_metrics()
    assert report.missed_classes(rows, replace(quick, class_weights="auto", repeat_threshold=0.1)).endswith(": try more epochs")


def test_without_a_validation_split_the_error_says_what_to_do(quick: TrainConfig, damaged: Path) -> None:
    (damaged / "ImageSets" / "Segmentation" / "val.txt").unlink()
    settings = replace(quick, data=str(damaged), iterations=1)
    with pytest.raises(
        DataError, match=r"no split list .*val\.txt \(lists there: train, trainval\); to train without one, use val_split train, "
    ):
        fit(settings)
    run = fit(replace(settings, val_split="train"))
    assert "validation images are training images too" in (run.root / "log.txt").read_text()


def test_a_small_model_learns(tmp_path: Path) -> None:
    from vocseg.data.synthetic import write_synthetic

    write_synthetic(tmp_path / "data", train=60, val=10, size=(64, 64), seed=1)
    settings = TrainConfig(
        data=str(tmp_path / "data"), model="simple_conv_net", crop=64, batch_size=6, epochs=5, lr=0.02, head_lr_factor=1,
        out=str(tmp_path / "run"), workers=0,
    )  # fmt: skip
    rows = fit(settings).read_metrics()
    assert rows[-1]["train"]["loss"] < 0.5 * rows[0]["train"]["loss"]
    assert rows[-1]["val"]["miou"] > 0.6


def test_nothing_but_void_is_no_training_data(quick: TrainConfig, damaged: Path) -> None:
    for name in VocFolder.find(damaged).ids("train"):
        path = damaged / "SegmentationClass" / f"{name}.png"
        with Image.open(path) as image:
            Image.new("L", image.size, 255).save(path)
    with pytest.raises(DataError, match=r"train: every pixel is void \(255\)"):
        fit(replace(quick, data=str(damaged)))


def later(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Read losses after several steps, as on a GPU."""
    for module in ("loop", "step_log"):
        monkeypatch.setattr(f"vocseg.training.{module}.steps_between_reads", lambda _device: steps)


def test_losses_that_are_read_late_are_the_same(quick: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fit(quick)
    later(monkeypatch, 3)
    second = fit(replace(quick, out=str(tmp_path / "late")))
    assert second.steps.read_bytes() == first.steps.read_bytes()
    assert [row["train"] for row in second.read_metrics()] == [row["train"] for row in first.read_metrics()]


def test_a_loss_that_is_found_late_reaches_no_checkpoint(quick: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fit(replace(quick, epochs=1, schedule="constant"))
    later(monkeypatch, 20)
    good = run.load_checkpoint()
    original = train_setup.training_batches

    def spoiled(*arguments: Any) -> Iterator[Any]:
        for number, batch in enumerate(original(*arguments)):
            if number == 1:
                with torch.no_grad():
                    weights.fill_(float("nan"))
            yield batch

    model = create_model("simple_conv_net", VocFolder.find(quick.data).classes)
    weights = next(model.parameters())
    monkeypatch.setattr(train_setup, "training_batches", spoiled)
    monkeypatch.setattr(train_setup, "create_model", lambda *_: model)
    with pytest.raises(
        TrainingError, match=r"iteration 4: loss is nan with images synth_0.*; continue with: vocseg train --resume"
    ):
        fit(replace(quick, epochs=9, schedule="constant", batch_size=4), run)
    assert good is not None
    state = run.load_checkpoint()
    assert state is not None
    assert state["iteration"] == 3
    assert all(value.isfinite().all() for value in state["network"].values())
