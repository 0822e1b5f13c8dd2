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
    data = list(dict.fromkeys(row["miou_on"] for row in rows if row.get("miou_on")))
    terminal().print(_table(rows, data))
    say(f"GMACs: billions of multiply-adds per {shape} image")
    if data:
        marked = (f"[{number}] {name}" for number, name in enumerate(data, 1))
        say(f"mIoU on {', '.join(marked)}; compare only those of one number")
    if pattern is None:
        smp = SmpFamily()
        say(
            f"plus segmentation_models_pytorch, as arch:encoder: {', '.join(smp.architectures())} "
            f"x {len(smp.encoders())} encoders (`vocseg models unet:` lists them) and timm's (unet:tu-NAME)"
        )
    if json is not None:
        write_json(json, {"size": shape, "models": rows})


def _table(rows: list[dict[str, Any]], data: list[str]) -> Table:
    from rich.table import Column, Table
    from rich.text import Text

    numbers = (Column(name, justify="right", no_wrap=name != "M params") for name in ("M params", "GMACs", "mIoU %"))
    table = Table(Column("model", no_wrap=True), *numbers, Column("--weights", no_wrap=True), header_style="bold")
    for row in rows:
        if "error" in row:
            table.add_row(row["name"], "", "", "", Text(row["error"], style="red"))
            continue
        miou = f"{100 * row['miou']:.1f} [{data.index(row['miou_on']) + 1}]" if row["miou"] else ""
        figures = f"{row['parameters'] / 1e6:.2f}", f"{row['multiply_adds'] / 1e9:.1f}"
        table.add_row(row["name"], *figures, miou, "|".join(row["weights"]))
    return table
