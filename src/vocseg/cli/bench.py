"""``vocseg bench``."""

from __future__ import annotations

from vocseg.cli.options import DeviceOption, JsonOption, PrecisionOption, WeightsOption
from vocseg.files import write_json


def bench(
    model: str,
    *,
    size: str = "375x500",
    against: str = "torchvision",
    rounds: int = 10,
    weights: WeightsOption = "none",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    json: JsonOption = None,
) -> None:
    """Time one picture, ours and peers' in turn.

    From the uint8 picture to its mask, in one process; every contestant starts from the same weights.

    ```
    vocseg bench lraspp_mobilenet_v3_large
    vocseg bench deeplabv3_resnet101 --size 375x500 --against torchvision,openvino,onnxruntime --json bench.json
    ```

    Parameters
    ----------
    model
        Model file or name.
    size
        HxW of the picture.
    against
        Comma-separated peers: torchvision (the plain network, float32), openvino (float32 and bfloat16), onnxruntime.
    rounds
        Pictures that each contestant segments.
    """
    import torch
    from rich.console import Console
    from rich.table import Table

    from vocseg.devices import processor
    from vocseg.inference import bench as timing
    from vocseg.models import create_model
    from vocseg.models.costs import parse_size

    height, width = parse_size(size)
    network = create_model(model, weights=None if weights == "none" and model.endswith(".safetensors") else weights)
    picture = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    peers = [peer for peer in against.split(",") if peer]
    results = timing.run(timing.contestants(network, peers, (height, width), device, precision), picture, rounds)
    ours, *others = results
    ratios = {other.name: round(other.median / ours.median, 2) for other in others}
    table = Table(header_style="bold")
    table.add_column("", no_wrap=True)
    for heading in ("p50 ms", "p95 ms", "pictures/s", "ready in s", "ours is"):
        table.add_column(heading, justify="right")
    for row in (result.to_dict() for result in results):
        ratio = f"{ratios[row['name']]:.2f}x as fast" if row["name"] in ratios else ""
        figures = (f"{row[key]:.1f}" for key in ("p50_ms", "p95_ms", "pictures_per_second", "prepare_s"))
        table.add_row(row["name"], *figures, ratio)
    machine = f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    Console().print(f"{model}, one {size} picture", highlight=False)
    Console().print(table)
    print(f"{rounds} rounds in turn on {machine}")
    if json is not None:
        rows = [result.to_dict() for result in results]
        write_json(json, {"model": model, "size": size, "machine": machine, "rounds": rounds, "results": rows, "ratios": ratios})
