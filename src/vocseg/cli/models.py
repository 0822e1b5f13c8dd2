"""``vocseg models``."""

from __future__ import annotations

from typing import Any

from vocseg.cli.options import JsonOption
from vocseg.utils.files import refuse_to_replace, write_json


def models(pattern: str | None = None, /, *, size: str = "375x500", json: JsonOption = None) -> None:
    """List models, with parameters, multiply-adds and published scores.

    ```
    vocseg models
    vocseg models 'deeplab*' --size 513x513
    vocseg models 'unet:resnet*'
    ```

    Parameters
    ----------
    pattern
        Name or pattern (*, ?) of the models to list. A pattern with a colon lists models of
        segmentation_models_pytorch; the plain list omits them, since there are over ten thousand.
    size
        Image size, HxW, for the multiply-adds.
    """
    from vocseg.models.complexity import describe_models
    from vocseg.utils.text import parse_size

    refuse_to_replace([json])
    rows = describe_models(pattern, parse_size(size))
    _print(rows, size, pattern)
    if json is not None:
        write_json(json, {"size": size, "models": rows})


def _print(rows: list[dict[str, Any]], size: str, pattern: str | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from vocseg.cli.console import terminal

    table = Table(header_style="bold")
    table.add_column("model", no_wrap=True)
    for heading in ("M params", "GMACs", "mIoU"):
        table.add_column(heading, justify="right")
    table.add_column("--weights")
    for row in rows:
        if "error" in row:
            table.add_row(str(row["name"]), "", "", "", Text(row["error"], style="red"))
            continue
        parameters, multiply_adds = (float(row[key]) for key in ("parameters", "multiply_adds"))
        miou = str(row["published_miou"][0]) if row["published_miou"] else ""
        weights = "|".join(row["weights"])
        table.add_row(str(row["name"]), f"{parameters / 1e6:.2f}", f"{multiply_adds / 1e9:.1f}", miou, weights)
    console = terminal()
    console.print(table)
    sources = sorted({row["published_miou"][1] for row in rows if row.get("published_miou")})
    measured = f"; mIoU: as published, on {', '.join(sources)}" if sources else ""
    console.print(f"GMACs: billions of multiply-adds per {size} image{measured}")
    if pattern is None:
        from vocseg.models.zoo.smp import SmpFamily

        smp = SmpFamily()
        console.print(
            f"plus segmentation_models_pytorch, as arch:encoder: {', '.join(smp.architectures())} "
            f"x {len(smp.encoders())} encoders (`vocseg models unet:` lists them) and timm's (unet:tu-NAME)",
        )
