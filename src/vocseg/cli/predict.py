"""``vocseg predict``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from vocseg.cli.options import (
    BatchSizeOption,
    DeviceOption,
    EngineOption,
    ExactOption,
    JsonOption,
    MaxShortSideOption,
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
    opacity: Annotated[float, Parameter(validator=Number(gte=0, lte=1))] = 0.55,
    palette: Path | None = None,
    max_short_side: MaxShortSideOption = None,
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
    opacity
        Opacity of the overlays' colors, 0 to 1.
    palette
        File with other colors for classes: lines `name r g b`.
    """
    find_images(images, out)  # fail before torch is imported
    from vocseg.cli.console import log_to_terminal
    from vocseg.inference.predict import predict as run

    log_to_terminal()
    result = run(
        images, out, model=model, weights=weights, overlay=overlay, opacity=opacity, palette=palette, device=device,
        precision=precision, engine=engine, exact=exact, max_short_side=max_short_side, batch_size=batch_size, json=json,
        title="predict",
    )  # fmt: skip
    _print(result, f"{'masks and overlays' if overlay else 'masks'} in {out}")
    result.check()


def _print(result: Predictions, written: str, limit: int = 20) -> None:
    from rich.table import Table

    from vocseg.cli.console import terminal

    console = terminal()
    lines = []
    if result.images:
        table = Table(header_style="bold")
        table.add_column("image")
        table.add_column("classes found")
        table.add_column("s", justify="right")
        for row in result.images[:limit]:
            table.add_row(row.name, ", ".join(shares(row.areas)), f"{row.seconds:.2f}")
        console.print(table)
        more = f" ({len(result.images) - limit} not shown)" if len(result.images) > limit else ""
        lines.append(f"{counted(len(result.images), 'image')}{more}; {written}")
    if shrunk := [row for row in result.images if row.network_size]:
        side = max(min(row.network_size or ()) for row in shrunk)
        lines.append(
            f"{counted(len(shrunk), 'large image')}: the network saw a shorter side of {side} pixels, the masks have the images' "
            "sizes (--max-short-side N; 0: not shrunk)"
        )
    if result.total > 1:
        lines += [f"skipped: {error}" for error in list(result.errors.values())[:limit]]
        lines += ["skipped: more (--json names all)"] if len(result.errors) > limit else []
    for line in lines:
        console.print(line, soft_wrap=True)
