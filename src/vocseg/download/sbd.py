"""VOC's augmented training set: official masks, and for the rest those of SBD.

"trainaug" means here what it means since DeepLab: official train, and SBD's train and val, without official val; 10,582
images. Masks are the official ones where there are any; SBD's have no void border.
"""

from __future__ import annotations

import io
import shutil
import tarfile
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from vocseg import voc
from vocseg.data.image_io import check_labels, image_size
from vocseg.data.layout import VocFolder
from vocseg.download.archive import checked, open_tar
from vocseg.draw import save_mask
from vocseg.errors import DataError, reason
from vocseg.utils.files import replacing, writable_folder, write_text
from vocseg.utils.progress import bar

MASKS = "SegmentationClassAug"
SPLIT = "trainaug"
TRAINAUG, VAL = 10_582, 1_449
"""Images in the lists."""
SBD_MASKS = 11_355


def has_trainaug(folder: VocFolder) -> bool:
    """Whether list and masks are there; DataError where they are, but not of the known number."""
    if not (folder.root / MASKS).is_dir() or not (folder.root / voc.SPLITS / f"{SPLIT}.txt").is_file():
        return False
    counts = len(VocFolder(folder.root, MASKS).ids(SPLIT)), len(folder.ids("val"))
    if counts != (TRAINAUG, VAL):
        raise DataError(f"{folder.root} has {counts[0]} images in {SPLIT} and {counts[1]} in val, not {TRAINAUG} and {VAL}")
    return True


def build_trainaug(folder: VocFolder, sbd: Path) -> None:
    """Make ``SegmentationClassAug`` and the list ``trainaug`` from VOC2012 and SBD's archive ``benchmark.tgz``.

    The masks folder holds those of official val too, so that both splits can be read from it. It is made aside and renamed;
    a call that was interrupted goes on where it stopped. Raises DataError where the lists do not come out at their known
    lengths, where SBD's files do not fit its lists or the images, and for existing masks.
    """
    final, aside = folder.root / MASKS, folder.root / f".{MASKS}.part"
    if final.exists():
        raise DataError(f"{final} exists but is not complete; move it away to have it made anew")
    train, val = read_list(folder, "train"), read_list(folder, "val")
    if len(val) != VAL:
        raise DataError(f"{folder.root} has {len(val)} images in val; VOC2012 has {VAL}")
    writable_folder(aside)
    for half in aside.glob(".*"):  # of a call that was killed while it wrote
        half.unlink()
    for name in [*train, *val]:
        _copy(folder.root / voc.MASKS / f"{name}.png", aside / f"{name}.png")
    added = _convert(folder, sbd, aside, official={*train, *val})
    names = sorted({*train, *added} - {*val})
    if len(names) != TRAINAUG:
        raise DataError(f"{sbd} and {folder.root} make {len(names)} images of trainaug, not {TRAINAUG}")
    write_text(folder.root / voc.SPLITS / f"{SPLIT}.txt", "".join(f"{name}\n" for name in names))
    aside.rename(final)


def read_list(folder: VocFolder, split: str) -> list[str]:
    """Ids of a split list, without a look at their files; DataError where there is no such list."""
    path = folder.root / voc.SPLITS / f"{split}.txt"
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read split list {path}: {reason(error)}") from error


def _copy(source: Path, target: Path) -> None:
    if target.exists():
        return
    if not source.is_file():
        raise DataError(f"there is no official mask {source}")
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)


def _convert(folder: VocFolder, sbd: Path, out: Path, official: set[str]) -> set[str]:
    """Write the masks of SBD whose ids are not ``official``; returns all its ids. DataError where files and lists differ."""
    listed: set[str] = set()
    found: set[str] = set()
    waiting: deque[Future[None]] = deque()
    with open_tar(sbd) as tar, bar(total=SBD_MASKS, desc=MASKS, unit="mask") as shown, ThreadPoolExecutor() as pool:
        for member in checked(tar, sbd):
            path = PurePosixPath(member.name)
            if path.parent.name == "dataset" and path.name in ("train.txt", "val.txt"):
                listed.update(_content(tar, member).decode("ascii", "replace").split())
            elif path.parent.name == "cls" and path.suffix == ".mat":
                found.add(path.stem)
                target = out / f"{path.stem}.png"
                if path.stem not in official and not target.exists():
                    waiting.append(pool.submit(_write_mask, folder, member.name, _content(tar, member), target))
                shown.update()
            while len(waiting) > 64:  # few at a time: the archive is read faster than masks are made
                waiting.popleft().result()
        for job in waiting:
            job.result()
    if listed != found:
        raise DataError(f"{sbd} lists {len(listed)} ids but has masks of {len(found)}; {len(listed ^ found)} do not match")
    return found


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file else b""


def _write_mask(folder: VocFolder, name: str, content: bytes, target: Path) -> None:
    mask = read_sbd_mask(content, name)
    size = image_size(folder.image(target.stem))
    if size != tuple(mask.shape):
        raise DataError(f"SBD's mask {name} is {mask.shape[0]}x{mask.shape[1]} but its image is {size[0]}x{size[1]}")
    save_mask(mask, target)


def read_sbd_mask(content: bytes, name: str) -> torch.Tensor:
    """The class ids (uint8, H x W; 0..20) of one of SBD's ``cls/*.mat`` files; DataError, with its ``name``, for anything else."""
    from scipy.io import loadmat

    try:
        labels = np.asarray(loadmat(io.BytesIO(content))["GTcls"][0]["Segmentation"][0])
    except Exception as error:  # scipy raises what it likes at a damaged file
        raise DataError(f"SBD's mask {name} cannot be read: {error}") from error
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise DataError(f"SBD's mask {name} is {labels.dtype} of shape {labels.shape}, not uint8 H x W")
    mask = torch.from_numpy(np.ascontiguousarray(labels))
    check_labels(mask, len(voc.CLASSES), name)
    return mask
