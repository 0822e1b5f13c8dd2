"""Build VOC's augmented training set: official masks where they exist, SBD's for the rest.

"trainaug" is what it has meant since DeepLab: official train plus SBD's train and val, minus official val: 10,582
images. SBD's masks have no void border.
"""

from __future__ import annotations

import io
import shutil
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from vocseg import voc
from vocseg.data.image_io import check_labels, image_size
from vocseg.data.layout import VocFolder
from vocseg.download.archive import open_tar
from vocseg.draw import save_mask
from vocseg.errors import DataError
from vocseg.utils.files import replacing, writable_folder, write_text
from vocseg.utils.progress import bar

MASKS = "SegmentationClassAug"
SPLIT = "trainaug"
TRAINAUG, VAL = 10_582, 1_449
"""Images in the lists."""
SBD_MASKS = 11_355
MAX_PENDING = 64
"""Masks that wait to be written; the archive is read faster than masks are converted."""


def has_trainaug(folder: VocFolder) -> bool:
    """Return whether list and masks exist; raises DataError if they do, but not in the known number."""
    if not (folder.root / MASKS).is_dir() or not (folder.root / voc.SPLITS / f"{SPLIT}.txt").is_file():
        return False
    counts = len(VocFolder(folder.root, MASKS).ids(SPLIT)), len(folder.ids("val"))
    if counts != (TRAINAUG, VAL):
        raise DataError(f"{folder.root} has {counts[0]} images in {SPLIT} and {counts[1]} in val, not {TRAINAUG} and {VAL}")
    return True


def build_trainaug(folder: VocFolder, sbd: Path) -> None:
    """Write ``SegmentationClassAug`` and the list ``trainaug`` from VOC2012 and SBD's archive ``benchmark.tgz``.

    The folder holds the masks of official val too, so that both splits can be read from it. It is built aside and
    renamed; an interrupted call resumes where it stopped. Raises DataError if the folder exists, if SBD's files do not
    match its lists or the images, and if the lists do not have their known lengths.
    """
    final, aside = folder.root / MASKS, folder.root / f".{MASKS}.part"
    if final.exists():
        raise DataError(f"{final} exists but is not complete; move it away to build it again")
    train, val = folder.listed("train"), folder.listed("val")
    if len(val) != VAL:
        raise DataError(f"{folder.root} has {len(val)} images in val; VOC2012 has {VAL}")
    writable_folder(aside)
    for half_written in aside.glob(".*"):  # by a call that was killed
        half_written.unlink()
    for name in [*train, *val]:
        if not (aside / f"{name}.png").exists():
            with replacing(aside / f"{name}.png") as temporary:
                shutil.copyfile(folder.mask(name), temporary)
    added = _convert(folder, sbd, aside)
    names = sorted({*train, *added} - {*val})
    if len(names) != TRAINAUG:
        raise DataError(f"{sbd} and {folder.root} make {len(names)} images of {SPLIT}, not {TRAINAUG}")
    write_text(folder.root / voc.SPLITS / f"{SPLIT}.txt", "".join(f"{name}\n" for name in names))
    aside.rename(final)


def _convert(folder: VocFolder, sbd: Path, out: Path) -> set[str]:
    """Write SBD's masks that are not in ``out`` yet; return all SBD ids; raises DataError if files and lists differ."""
    listed: set[str] = set()
    found: set[str] = set()
    pending: deque[Future[None]] = deque()
    with open_tar(sbd) as members, bar(total=SBD_MASKS, desc=MASKS, unit="mask") as shown, ThreadPoolExecutor() as pool:
        for member, file in members:
            path = PurePosixPath(member.name)
            if file and path.parent.name == "dataset" and path.name in ("train.txt", "val.txt"):
                listed.update(file.read().decode("ascii", "replace").split())
            elif file and path.parent.name == "cls" and path.suffix == ".mat":
                found.add(path.stem)
                target = out / f"{path.stem}.png"
                if not target.exists():
                    pending.append(pool.submit(_write_mask, folder, member.name, file.read(), target))
                shown.update()
            while len(pending) > MAX_PENDING:
                pending.popleft().result()
        for job in pending:
            job.result()
    if listed != found:
        raise DataError(f"{sbd} lists {len(listed)} ids but has masks of {len(found)}; {len(listed ^ found)} do not match")
    return found


def _write_mask(folder: VocFolder, name: str, content: bytes, target: Path) -> None:
    mask = read_sbd_mask(content, name)
    size = image_size(folder.image(target.stem))
    if size != tuple(mask.shape):
        raise DataError(f"SBD's mask {name} is {mask.shape[0]}x{mask.shape[1]} but its image is {size[0]}x{size[1]}")
    save_mask(mask, target)


def read_sbd_mask(content: bytes, name: str) -> torch.Tensor:
    """Return the class ids (uint8, H x W; 0 to 20) of an SBD file ``cls/*.mat``; raises DataError for anything else."""
    from scipy.io import loadmat

    try:
        labels = np.asarray(loadmat(io.BytesIO(content))["GTcls"][0]["Segmentation"][0])
    except Exception as error:  # scipy raises all kinds of errors for a damaged file
        raise DataError(f"SBD's mask {name} cannot be read: {error}") from error
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise DataError(f"SBD's mask {name} is {labels.dtype} of shape {labels.shape}, not uint8 H x W")
    mask = torch.from_numpy(np.ascontiguousarray(labels))
    check_labels(mask, len(voc.CLASSES), name)
    return mask
