"""``vocseg data show``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vocseg.cli.options import AnyMasks, DataFolder, Positive
from vocseg.data.layout import protect_data


def show(
    data: DataFolder,
    ids: list[str] | None = None,
    /,
    *,
    split: str | None = None,
    count: Positive = 12,
    class_: Annotated[str | None, Parameter(name="--class")] = None,
    mask_dir: AnyMasks = None,
    columns: Positive = 4,
    seed: int = 0,
    out: Path = Path("show.png"),
) -> None:
    """Draw images with their masks on a contact sheet.

    Each image is shown under its mask, with its id and a legend: the given ids, or images drawn at random from a split.
    If image and mask differ in size, they are shown side by side.

    ```
    vocseg data show data 2007_000032 2007_000039
    vocseg data show data --split val --count 20 --class cat --out cats.png
    ```

    Args:
        ids: Image ids or file names.
        split: Split to draw from. Default: train, or the first there is.
        count: Number of images to draw.
        class_: Draw only images that contain this class.
        columns: Images per row.
        seed: Seed of the random choice.
        out: File to write, .png or .jpg.
    """
    protect_data(data, [mask_dir], [out])  # fail before torch is imported
    from vocseg.cli.console import say
    from vocseg.doctor.views import show as draw_sheet
    from vocseg.draw import save_image
    from vocseg.errors import SettingError
    from vocseg.utils.files import MARK
    from vocseg.utils.text import counted

    if out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise SettingError(f"--out {out} must end in .png or .jpg")
    sheet = draw_sheet(data, ids or [], split=split, class_name=class_, count=count, mask_dir=mask_dir, columns=columns, seed=seed)
    save_image(sheet.image, out, MARK)
    say(f"{counted(len(sheet.ids), 'image')} in {out}: {', '.join(sheet.ids)}")
