"""Pascal VOC through torchvision."""

from __future__ import annotations

import shutil
import urllib.error
from pathlib import Path

from torchvision.datasets import VOCSegmentation
from torchvision.datasets.voc import DATASET_YEAR_DICT

from vocseg import voc
from vocseg.data.layout import VocFolder
from vocseg.errors import DataError


def download_voc(folder: Path) -> None:
    """Download and unpack VOC's train and val pictures below ``folder`` where they are not there yet.

    VOC2012, or the year that the folder is named after (``.../VOC2007``). Raises DataError, saying how to go on without
    the network, where no download is to be had.
    """
    try:
        VocFolder.find(folder)
    except DataError:
        pass
    else:
        return
    named = folder.name.removeprefix("VOC")
    year, root = (named, folder) if named in voc.YEARS and folder.name.startswith("VOC") else ("2012", folder)
    source = DATASET_YEAR_DICT[year]
    try:
        VOCSegmentation(str(root), year=year, image_set="trainval", download=True)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        reason = getattr(error, "reason", None) or str(error).splitlines()[0]
        raise DataError(
            f"VOC{year} not to be had from {source['url']} ({reason}); unpack {source['filename']} below {folder} by hand"
        ) from error
    # The 2011 archive unpacks to TrainVal/VOCdevkit/VOC2011.
    nested = root / "TrainVal" / "VOCdevkit"
    if nested.is_dir():
        shutil.move(str(nested), str(root / "VOCdevkit"))
