"""Curves and a page of a run, and TensorBoard."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vocseg import draw, voc
from vocseg.errors import SettingError
from vocseg.inference.segmenter import Segmenter
from vocseg.training.config import TrainConfig
from vocseg.training.run_folder import RunFolder
from vocseg.training.setup import TrainSetup
from vocseg.utils.files import MARK, replacing, write_text
from vocseg.utils.text import percent

if TYPE_CHECKING:
    from vocseg.training.loop import TrainState

OVERLAYS = 4
"""Most validation images whose overlays go to TensorBoard after each epoch."""

CURVES = {"train": ("train", "tab:blue"), "val": ("val", "tab:orange"), "val_ema": ("val, average", "tab:green")}


def write_curves(run: RunFolder) -> None:
    """Draw ``curves.png``: loss, mIoU and learning rate by iteration."""
    from matplotlib.figure import Figure  # not pyplot, whose backend belongs to the user

    rows, steps = run.read_metrics(), run.read_steps()
    figure = Figure(figsize=(13, 3.6), layout="constrained")
    losses, mious, rates = figure.subplots(1, 3)
    if steps:
        iterations, values, lr = zip(*steps, strict=True)
        losses.plot(iterations, values, color="tab:blue", alpha=0.25, linewidth=0.8, label="train, each step")
        rates.plot(iterations, lr, color="tab:gray")
    for part, (label, color) in CURVES.items():
        known = [row for row in rows if part in row]
        at = [row["iteration"] for row in known]
        for axes, key, factor in ((losses, "loss", 1), (mious, "miou", 100)):
            points = [(x, row[part][key] * factor) for x, row in zip(at, known, strict=True) if row[part][key] is not None]
            if points:
                axes.plot(*zip(*points, strict=True), color=color, marker="o", markersize=3, label=label)
    for axes, title in ((losses, "loss"), (mious, "mIoU, %"), (rates, "learning rate")):
        axes.set_title(title)
        axes.set_xlabel("iteration")
        axes.grid(alpha=0.3)
        axes.set_ylim(bottom=0)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    with replacing(run.curves) as temporary:
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=110, metadata={"Software": MARK.decode()})
        temporary.write_bytes(content.getvalue())


def best_of(rows: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """Return the best epoch's record and its key: ``val``, or ``val_ema`` for the moving average."""
    scored = [(row, part) for row in rows for part in ("val", "val_ema") if part in row]
    return max(scored, key=lambda pair: pair[0][pair[1]]["miou"] or 0)


def no_gain_advice(config: TrainConfig) -> str:
    """Return what to try if no epoch is better than the starting model."""
    freeze = "" if config.freeze == "batch-norm" else " and freeze = batch-norm (the recipe refine has both)"
    return f"Try a lower lr{freeze}, or more images."


def missed_classes(rows: Sequence[dict[str, Any]], config: TrainConfig) -> str:
    """Return a line that names the classes of which the best epoch finds no pixel, with what to try; '' if there is none."""
    best, part = best_of(rows)
    missed = [name for name, row in best[part]["per_class"].items() if row["iou"] == 0 and row["true_pixels"]]
    advice = ["class_weights = auto"] * (config.class_weights == "none")
    advice += ["repeat_threshold = 0.25"] * (config.repeat_threshold == 0) + ["more epochs"]
    return f"warning: IoU 0 for {', '.join(missed)}: try {' or '.join(advice)}" if missed else ""


def write_report(run: RunFolder, setup: TrainSetup) -> None:
    """Write ``report.md``: the settings, the best epoch's scores by class, and every epoch."""
    rows = run.read_metrics()
    if not rows:
        return
    parts = [part for part in ("val", "val_ema") if part in rows[-1]]
    best, part = best_of(rows)
    scores = best[part]
    weights = {"val": "the weights", "val_ema": "their moving average"}[part] if best["epoch"] else "the starting model"
    lines = [
        f"# {run.root.name}",
        "",
        *(f"- {line}" for line in setup.describe()),
        "",
        "![curves](curves.png)",
        "",
        f"## Best: epoch {best['epoch']} ({weights})",
        "",
        f"{scores['split']}, {scores['images']} images: mIoU {percent(scores['miou'])} % over {scores['classes_scored']} "
        f"classes, pixel accuracy {percent(scores['pixel_accuracy'])} %. `{run.best.name}` holds these weights.",
        "",
        *(
            [f"No gain: no epoch is better than the starting model. {no_gain_advice(setup.config)}", ""]
            if not best["epoch"]
            else []
        ),
        *([missed, ""] if (missed := missed_classes(rows, setup.config)) else []),
        "| class | IoU % | precision % | recall % |",
        "|---|---|---|---|",
        *(
            f"| {name} | {percent(row['iou'])} | {percent(row['precision'])} | {percent(row['recall'])} |"
            for name, row in scores["per_class"].items()
        ),
        "",
        "## Every epoch",
        "",
        "| epoch | iteration | train loss | train mIoU | val loss | val mIoU |" + " val mIoU of average |" * (len(parts) - 1),
        "|---|---|---|---|---|---|" + "---|" * (len(parts) - 1),
        *(_epoch_row(row, parts) for row in rows),
        "",
    ]
    write_text(run.report, "\n".join(lines))


def _epoch_row(row: dict[str, Any], parts: Sequence[str]) -> str:
    cells = [str(row["epoch"]), str(row["iteration"])]
    for part in ("train", "val"):
        loss = row[part]["loss"]
        cells += ["-" if loss is None else f"{loss:.4f}", percent(row[part]["miou"])]
    return "| " + " | ".join(cells + [percent(row.get(part, {}).get("miou")) for part in parts[1:]]) + " |"


def require_tensorboard() -> None:
    """Raise SettingError if TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise SettingError("tensorboard is not installed; run: pip install tensorboard")


class TensorBoard:
    """A callback that writes scalars, IoU by class, and after each epoch the same validation images:
    overlays of the ground truth and of the prediction, side by side.

    Of a resumed run, what an earlier process wrote after the ``iteration`` of its checkpoint is no longer shown.
    """

    def __init__(self, folder: Path, setup: TrainSetup, iteration: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=iteration + 1)
        self.setup = setup

    def on_epoch_end(self, state: TrainState, record: dict[str, Any]) -> None:
        step = record["iteration"]
        self.writer.add_scalar("learning rate", record["lr"], step)
        for part in ("train", "val", "val_ema"):
            for key in ("loss", "miou", "pixel_accuracy"):
                if record.get(part, {}).get(key) is not None:
                    self.writer.add_scalar(f"{key}/{part}", record[part][key], step)
        for name, row in record["val"]["per_class"].items():
            if row["iou"] is not None:
                self.writer.add_scalar(f"IoU/{name}", row["iou"], step)
        model = state.averaged_model()
        segment = Segmenter(model, device=state.config.device, precision=state.config.precision, engine="torch")
        dataset = self.setup.val_set
        for index in range(0, len(dataset), -(-len(dataset) // OVERLAYS)):
            sample = dataset.read(index)
            result, info = segment(sample.image), model.info
            overlays = [
                draw.overlay(result.image, mask, info.palette, background=voc.background(info.classes)).convert("RGB")
                for mask in (sample.mask, result.mask)
            ]
            pixels = np.array(draw.side_by_side(overlays).convert("RGB"))
            self.writer.add_image(f"val/{sample.name}", pixels, step, dataformats="HWC")
        self.writer.flush()

    def on_end(self, _state: TrainState) -> None:
        self.writer.close()
