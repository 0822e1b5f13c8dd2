"""``vocseg bench``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from vocseg.cli.options import DeviceOption, EngineOption, JsonOption, PrecisionOption

if TYPE_CHECKING:
    from vocseg.bench.harness import Contestant


def bench(
    model: str,
    *,
    size: str = "375x500",
    against: str | None = None,
    train: Annotated[bool, Parameter(negative=())] = False,
    batch_size: Annotated[int, Parameter(validator=Number(gte=1))] = 4,
    crop: Annotated[int, Parameter(validator=Number(gte=1))] = 321,
    rounds: Annotated[int, Parameter(validator=Number(gte=1))] = 10,
    memory: bool = True,
    weights: Annotated[str, Parameter(help="Weights to load; none (random) is just as fast.")] = "none",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    engine: EngineOption = "auto",
    json: JsonOption = None,
) -> None:
    """Time inference or a training step, against other libraries.

    Inference: from the uint8 image to its mask. All cases run in turn in one process, with the same weights.

    ```
    vocseg bench lraspp_mobilenet_v3_large
    vocseg bench deeplabv3_resnet101 --against torchvision,openvino,onnxruntime,compile --json bench.json
    vocseg bench deeplabv3_resnet101 --train --batch-size 4 --crop 321
    ```

    Parameters
    ----------
    model
        Model file or name.
    size
        Image size, HxW.
    against
        Peers, separated by commas: torchvision (the unchanged network in float32), openvino and compile (torch.compile) in
        float32 and bfloat16, onnxruntime, tflite:FILE.tflite (another network); with --train, torchvision (its
        reference script) and autocast (the same in bfloat16). Default: torchvision; with --train, both.
    train
        Time a training step instead of inference.
    batch_size
        Images per step, with --train.
    crop
        Side of the training images in pixels, with --train.
    rounds
        Timed runs per case.
    memory
        Also measure the peak memory of each case, in separate processes.
    """
    from vocseg.utils.files import refuse_to_replace
    from vocseg.utils.text import parse_size

    refuse_to_replace([json], [model, weights, *(peer.removeprefix("tflite:") for peer in _peers(against, ""))])
    source = weights if weights != "none" or not model.endswith(".safetensors") else None
    field: list[Contestant]
    if train:
        from vocseg.bench import training_step as training

        task = training.Task(model, source, batch_size, crop, device)
        field = training.contestants(task, _peers(against, "torchvision,autocast"), precision)
        what, height, width, images = f"training step of {batch_size} x {crop}x{crop}", crop, crop, batch_size
    else:
        from vocseg.bench import prediction as inference

        height, width = parse_size(size)
        image = inference.Task(model, source, (height, width), device)
        field = inference.contestants(image, _peers(against, "torchvision"), precision, engine)
        what, images = f"one {size} image", 1
    _hold(model, what, (height, width), images, field, rounds, memory, json)


def _peers(against: str | None, usual: str) -> list[str]:
    return [peer.strip() for peer in (usual if against is None else against).split(",") if peer.strip()]


def _hold(
    model: str, what: str, size: tuple[int, int], images: int, field: list[Contestant], rounds: int, memory: bool, json: Any
) -> None:
    from vocseg.bench import harness as contest
    from vocseg.models import read_info
    from vocseg.models.complexity import costs
    from vocseg.models.registry import is_file_name
    from vocseg.utils.files import write_json
    from vocseg.utils.system import machine

    architecture = read_info(Path(model)).architecture if is_file_name(model) else model
    parameters, multiply_adds = costs(architecture, *size)
    timings = contest.run(field, rounds)
    peaks = contest.peak_memory(field) if memory else [None] * len(field)
    values = contest.report(timings, peaks, images)
    print(f"{model}, {what}; {parameters / 1e6:.3g} M parameters, {multiply_adds / 1e9:.3g} G multiply-adds an image")
    _print(values)
    print(f"{rounds} rounds in turn on {machine()}")
    if json is not None:
        head = {"model": model, "task": what, "size": f"{size[0]}x{size[1]}", "machine": machine(), "rounds": rounds}
        write_json(json, head | {"parameters": parameters, "multiply_adds": multiply_adds} | values)


def _print(values: dict[str, Any]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    reference, *_ = values["results"]
    caption = f"ratio: how many times faster {reference['name']} is; same: vocseg in that precision"
    # A box of lines and padding would not leave room for the figures in 80 columns.
    table = Table(
        header_style="bold", caption=caption, caption_justify="left", box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True
    )
    table.add_column("", no_wrap=True)
    for heading in ("p50 ms", "p95 ms", "pict./s", "ready s", "MB", "ratio", "same"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in values["results"]:
        figures = [_short(row[key]) for key in ("p50_ms", "p95_ms", "images_per_second", "prepare_s")]
        peak = "-" if row["peak_mb"] is None else str(row["peak_mb"])
        ratios = (row["ratio"], values["same_precision"].get(row["name"]))
        words = ["" if ratio is None or row is reference else f"{ratio:.2f}x" for ratio in ratios]
        table.add_row(row["name"], *figures, peak, *words)
    Console().print(table)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}"
