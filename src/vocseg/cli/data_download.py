"""``vocseg data download``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from vocseg.cli.console import log_to_terminal, say
from vocseg.cli.options import Flag, Json


def download(
    folder: Path,
    /,
    *,
    year: Literal["2007", "2008", "2009", "2010", "2011", "2012"] = "2012",
    trainaug: Flag = False,
    mirror: Annotated[list[str] | None, Parameter(negative=())] = None,
    keep_archive: Flag = False,
    json: Json = None,
) -> None:
    """Download Pascal VOC and, with --trainaug, the augmented training set.

    Resume an interrupted download; do nothing if everything is there. Archives are verified by checksum and taken from
    the first source that has them: `--mirror`, the list in VOCSEG_MIRRORS (separated by commas or spaces), the official
    hosts, then other mirrors. HTTP_PROXY, HTTPS_PROXY and NO_PROXY are respected.

    ```
    vocseg data download data --trainaug
    vocseg data download data --year 2007 --mirror ~/Downloads
    ```

    Args:
        folder: Folder in which to put VOCdevkit.
        year: Year of the challenge: images and masks of trainval.
        trainaug: Also make SegmentationClassAug and trainaug.txt (10,582 images) from SBD.
        mirror: URL or path to try first: the archive, or the folder that holds it. Repeatable.
        keep_archive: Keep the downloaded archive in the folder.
    """
    from vocseg.download.voc import download as download_voc
    from vocseg.utils.files import refuse_to_replace, write_json

    refuse_to_replace([json])
    log_to_terminal()
    result = download_voc(folder, year, trainaug, mirror or (), keep_archive)
    counts = ", ".join(f"{count} {split}" for split, count in result.images.items())
    nothing = "; nothing to download" if result.is_complete else "; nothing was downloaded"
    say(f"{result.folder.root}: {counts} images{'' if result.origins else nothing}")
    if json is not None:
        write_json(json, {"folder": str(result.folder.root), "images": result.images, "archives": result.origins})
    if not result.origins and not result.is_complete:
        raise SystemExit(2)
