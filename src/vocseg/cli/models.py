"""``vocseg models``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vocseg.cli.options import Json, Size
from vocseg.utils.files import refuse_to_replace, write_json

if TYPE_CHECKING:
    from rich.table import Table


def models(pattern: str | None = None, /, *, size: Size = (375, 500), json: Json = None) -> None:
    """List models, with parameters, multiply-adds and published scores.

    ```
    vocseg models 'deeplab*' --size 513x513
    vocseg models 'unet:resnet*'
    ```

    Args:
        pattern: Name or pattern (*, ?) of the models to list. A pattern with a colon lists models of
            segmentation_models_pytorch; the plain list omits them, since there are over ten thousand.
        size: Image size, HxW, for the multiply-adds.
    """
    refuse_to_replace([json])
    from vocseg.cli.console import say, terminal
    from vocseg.models.complexity import describe_models
    from vocseg.models.zoo.smp import SmpFamily

    rows, shape = describe_models(pattern, size), "{}x{}".format(*size)
    terminal().print(_table(rows))
    sources = sorted({row["published_miou"][1] for row in rows if row.get("published_miou")})
    measured = f"; mIoU: as published, on {', '.join(sources)}" if sources else ""
    say(f"GMACs: billions of multiply-adds per {shape} image{measured}")
    if pattern is None:
        smp = SmpFamily()
        say(
            f"plus segmentation_models_pytorch, as arch:encoder: {', '.join(smp.architectures())} "
            f"x {len(smp.encoders())} encoders (`vocseg models unet:` lists them) and timm's (unet:tu-NAME)"
        )
    if json is not None:
        write_json(json, {"size": shape, "models": rows})


def _table(rows: list[dict[str, Any]]) -> Table:
    from rich.table import Column, Table
    from rich.text import Text

    numbers = (Column(name, justify="right") for name in ("M params", "GMACs", "mIoU %"))
    table = Table(Column("model", no_wrap=True), *numbers, "--weights", header_style="bold")
    for row in rows:
        if "error" in row:
            table.add_row(row["name"], "", "", "", Text(row["error"], style="red"))
            continue
        miou = str(row["published_miou"][0]) if row["published_miou"] else ""
        figures = f"{row['parameters'] / 1e6:.2f}", f"{row['multiply_adds'] / 1e9:.1f}"
        table.add_row(row["name"], *figures, miou, "|".join(row["weights"]))
    return table
