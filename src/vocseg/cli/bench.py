"""``vocseg bench``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from vocseg.cli.options import Flag, Json, Machine, Positive, Size, check_network

if TYPE_CHECKING:
    from rich.table import Table


def bench(
    model: str,
    *,
    size: Size = (375, 500),
    against: str | None = None,
    train: Flag = False,
    batch_size: Positive = 4,
    crop: Positive = 321,
    rounds: Positive = 10,
    memory: bool = True,
    weights: str = "none",
    machine: Machine = Machine(),
    json: Json = None,
) -> None:
    """Time inference or a training step, against other libraries.

    Inference: from the uint8 image to its mask. All cases run in turn in one process, with the same weights.

    ```
    vocseg bench deeplabv3_resnet101 --against torchvision,openvino,onnxruntime,compile --json bench.json
    vocseg bench deeplabv3_resnet101 --train --batch-size 4 --crop 321
    ```

    Args:
        model: Model file or name.
        size: Image size, HxW.
        against: Peers, separated by commas: torchvision (the unchanged network in float32), openvino and compile
            (torch.compile) in float32 and bfloat16, onnxruntime, tflite:FILE.tflite (another network); with --train,
            torchvision (its reference script) and autocast (the same in bfloat16). Default: torchvision; with --train,
            both.
        train: Time a training step instead of inference.
        batch_size: Images per step, with --train.
        crop: Side of the training images in pixels, with --train.
        rounds: Timed runs per case.
        memory: Also measure the peak memory of each case, in separate processes.
        weights: Weights to load; none (random) is just as fast.
    """
    check_network(machine, model, weights=weights)  # fail before torch is imported
    from vocseg.bench.benchmark import benchmark
    from vocseg.cli.console import say, terminal

    peers = None if against is None else [peer.strip() for peer in against.split(",") if peer.strip()]
    figures = benchmark(
        model, against=peers, size=size, train=train, batch_size=batch_size, crop=crop, rounds=rounds, memory=memory,
        weights=weights, json=json, **asdict(machine),
    )  # fmt: skip
    millions, billions = figures["parameters"] / 1e6, figures["multiply_adds"] / 1e9
    say(f"{model}, {figures['task']}; {millions:.3g} M parameters, {billions:.3g} G multiply-adds per image")
    terminal().print(_table(figures))
    say(f"{rounds} rounds on {figures['machine']}")


def _table(values: dict[str, Any]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    reference, *_ = values["results"]
    caption = f"ratio: speedup of {reference['name']}; same: speedup of vocseg in the case's own precision"
    # Vertical lines and padding would leave too little of 80 columns for the figures.
    table = Table(
        header_style="bold", caption=caption, caption_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True
    )
    table.add_column("", no_wrap=True)
    for heading in ("p50 ms", "p95 ms", "images/s", "ready s", "MB", "ratio", "same"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in values["results"]:
        figures = [_short(row[key]) for key in ("p50_ms", "p95_ms", "images_per_second", "prepare_s")]
        peak = "-" if row["peak_mb"] is None else str(row["peak_mb"])
        ratios = (row["ratio"], values["same_precision"].get(row["name"]))
        words = ["" if ratio is None or row is reference else f"{ratio:.2f}x" for ratio in ratios]
        table.add_row(row["name"], *figures, peak, *words)
    return table


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}"
