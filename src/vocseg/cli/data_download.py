"""``vocseg data download``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from vocseg.cli.console import log_to_terminal
from vocseg.cli.options import JsonOption


def download(
    folder: Path,
    /,
    *,
    year: Literal["2007", "2008", "2009", "2010", "2011", "2012"] = "2012",
    trainaug: Annotated[bool, Parameter(negative=())] = False,
    mirror: Annotated[list[str] | None, Parameter(negative=())] = None,
    keep_archive: Annotated[bool, Parameter(negative=())] = False,
    json: JsonOption = None,
) -> None:
    """Download Pascal VOC, and the augmented training set.

    Goes on where an interrupted call stopped; does nothing where all is there. Archives are checked by their checksums and
    taken from the first place that has them: your mirrors, those of VOCSEG_MIRRORS (separated by commas or blanks), the
    official hosts, and others. HTTP_PROXY, HTTPS_PROXY and NO_PROXY are obeyed.

    ```
    vocseg data download data
    vocseg data download data --trainaug
    vocseg data download data --year 2007 --mirror ~/Downloads
    ```

    Parameters
    ----------
    folder
        Where VOCdevkit is to lie.
    year
        VOC of which year: trainval, images and masks.
    trainaug
        Make SegmentationClassAug and trainaug.txt (10,582 images) from SBD as well; needs scipy.
    mirror
        Another place to look first, a URL or a path: the archive, or the folder that holds it. May be given repeatedly.
    keep_archive
        Leave the downloaded archive in the folder.
    """
    from vocseg.download.voc import download as download_voc
    from vocseg.utils.files import refuse_to_replace, write_json

    refuse_to_replace([json])
    log_to_terminal()
    outcome = download_voc(folder, year, trainaug, mirror or (), keep_archive)
    counts = ", ".join(f"{count} {split}" for split, count in outcome.images.items())
    print(f"{outcome.folder.root}: {counts} images{'' if outcome.origins else '; all was there already'}")
    if json is not None:
        write_json(json, {"folder": str(outcome.folder.root), "images": outcome.images, "archives": outcome.origins})
