"""``vocseg predict``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from vocseg.cli.options import (
    BatchSizeOption,
    DeviceOption,
    EngineOption,
    ExactOption,
    JsonOption,
    PrecisionOption,
    WeightsOption,
)
from vocseg.inference.sources import find_images
from vocseg.utils.text import counted, shares

if TYPE_CHECKING:
    from vocseg.inference.predict import Predictions


def predict(
    images: Annotated[list[Path], Parameter(help="Image files, folders that are searched for images, and glob patterns.")],
    /,
    *,
    model: str = "vocseg-s",
    out: Path = Path("predictions"),
    weights: WeightsOption = None,
    overlay: bool = True,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    engine: EngineOption = "auto",
    exact: ExactOption = False,
    batch_size: BatchSizeOption = None,
    json: JsonOption = None,
) -> None:
    """Segment images: write masks and overlays.

    Each image gets a mask (palette PNG of the image's size) and an overlay with a legend of the classes found.

    ```
    vocseg predict photo.jpg
    vocseg predict photo.jpg --model runs/deeplabv3_resnet101/best.safetensors
    vocseg predict holiday/ more/*.png --model deeplabv3_resnet101 --out masks --no-overlay --json areas.json
    ```

    Parameters
    ----------
    model
        Model file or name. vocseg-s is included in the package.
    out
        Output folder for NAME.png (mask) and NAME_overlay.jpg.
    overlay
        Write overlays.
    """
    find_images(images, out)  # fail before torch is imported
    from vocseg.inference.predict import predict as run

    result = run(
        images, out, model=model, weights=weights, overlay=overlay, device=device, precision=precision, engine=engine, exact=exact,
        batch_size=batch_size, json=json, title="predict",
    )  # fmt: skip
    if result.images:
        _print(result, f"{'masks and overlays' if overlay else 'masks'} in {out}")
    result.check()


def _print(result: Predictions, written: str, limit: int = 20) -> None:
    from rich.table import Table

    from vocseg.cli.console import terminal

    table = Table(header_style="bold")
    table.add_column("image")
    table.add_column("classes found")
    table.add_column("s", justify="right")
    for row in result.images[:limit]:
        table.add_row(row.name, ", ".join(shares(row.areas)), f"{row.seconds:.2f}")
    console = terminal()
    console.print(table)
    more = f" ({len(result.images) - limit} not shown)" if len(result.images) > limit else ""
    console.print(f"{counted(len(result.images), 'image')}{more}; {written}", soft_wrap=True)
