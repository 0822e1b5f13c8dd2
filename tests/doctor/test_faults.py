"""Every data fault that users reported, in a tiny data set: what the doctor calls it, and that no verb passes over it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vocseg
from vocseg import voc
from vocseg.data.dataset import SplitDataset
from vocseg.data.layout import VocFolder
from vocseg.data.split_summary import check_split
from vocseg.doctor.examine import examine
from vocseg.doctor.stats import statistics
from vocseg.errors import DataError
from vocseg.evaluation.score import score

SHAPE = (24, 32)
COLORS = ((0, 0, 0), (200, 0, 0), (0, 200, 0), (0, 0, 200))


def ids(number: int) -> np.ndarray:
    """A mask of the classes 0 and 1 to 3 with a void border."""
    found = np.zeros(SHAPE, dtype=np.uint8)
    found[4:20, 4:20] = voc.VOID
    found[6:18, 6:18] = 1 + number % 3
    return found


def mask(root: Path, number: int) -> Path:
    return root / voc.MASKS / f"p{number}.png"


def image(root: Path, number: int) -> Path:
    return root / voc.IMAGES / f"p{number}.jpg"


def lists(root: Path, split: str) -> Path:
    return root / voc.SPLITS / f"{split}.txt"


def save(path: Path, pixels: np.ndarray, **options: str) -> None:
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six images of noise, of which the last three are val."""
    root = tmp_path / "data"
    for name in (voc.IMAGES, voc.MASKS, voc.SPLITS):
        (root / name).mkdir(parents=True)
    for number in range(6):
        save(image(root, number), np.random.default_rng(number).integers(0, 255, (*SHAPE, 3), dtype=np.uint8))
        save(mask(root, number), ids(number))
    for split, numbers in (("train", range(3)), ("val", range(3, 6))):
        lists(root, split).write_text("".join(f"p{number}\n" for number in numbers))
    (root / voc.CLASSES_FILE).write_text("ground\nred\ngreen\nblue\n")
    return root


def all_masks(change: Callable[[np.ndarray], np.ndarray], **options: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        for number in range(6):
            save(mask(root, number), change(ids(number)), **options)

    return damage


def names(text: str, change: Callable[[Path], None] | None = None) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        (root / voc.CLASSES_FILE).write_text(text)
        if change is not None:
            change(root)

    return damage


def indexed(root: Path) -> None:
    """As editors and optimizers save indexed images."""
    for number in range(6):
        colors = np.array(COLORS, dtype=np.uint8)[ids(number) % 4]
        Image.fromarray(colors).convert("P", palette=Image.Palette.ADAPTIVE, colors=8).save(mask(root, number))


def quantized(root: Path) -> None:
    for number in range(6):
        colors = np.array(COLORS, dtype=np.uint8)[ids(number) % 4]
        Image.fromarray(colors).quantize(4).save(mask(root, number))


def gif_called_png(root: Path) -> None:
    for number in range(6):
        colors = np.array(COLORS, dtype=np.uint8)[ids(number) % 4]
        Image.fromarray(colors).save(mask(root, number), "GIF")


def in_channel(channel: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(labels: np.ndarray) -> np.ndarray:
        pixels = np.zeros((*SHAPE, 3), dtype=np.uint8)
        pixels[..., channel] = labels % voc.VOID
        return pixels

    return change


def renamed(new: Callable[[int], str], line: Callable[[int], str] | None = None, end: str = "\n") -> Callable[[Path], None]:
    """Rename the files of each id, and write lists of what ``line`` makes of the number."""

    def damage(root: Path) -> None:
        for number in range(6):
            image(root, number).rename(root / voc.IMAGES / f"{new(number)}.jpg")
            mask(root, number).rename(root / voc.MASKS / f"{new(number)}.png")
        for split, numbers in (("train", range(3)), ("val", range(3, 6))):
            lists(root, split).write_bytes("".join(f"{(line or new)(number)}{end}" for number in numbers).encode())

    return damage


def lines(*text: str) -> Callable[[Path], None]:
    return lambda root: lists(root, "val").write_text("".join(f"{line}\n" for line in text)) and None


def second_file(folder: str, name: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        pixels = np.zeros(SHAPE, dtype=np.uint8) if folder == voc.MASKS else np.zeros((*SHAPE, 3), dtype=np.uint8)
        (root / folder / name).touch()
        Image.fromarray(pixels).save(root / folder / name, "PNG")

    return damage


def instead(path: Callable[[Path], Path], make: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        path(root).unlink()
        make(path(root))

    return damage


def foreign(name: str) -> Callable[[Path], None]:
    return lambda root: (root / voc.IMAGES / name).write_bytes(b"\0\5\26\7") and None


FAULTS: dict[str, tuple[str, Callable[[Path], None]]] = {
    # scores that cannot be right
    "0 and 255": ("binary-mask", names("background\nthing\n", all_masks(lambda labels: (labels == 1) * np.uint8(255)))),
    "one name, 0 and 255": ("binary-mask", names("thing\n", all_masks(lambda labels: (labels == 1) * np.uint8(255)))),
    "one name, 0": ("one-name", names("thing\n", all_masks(np.zeros_like))),
    "val is void": ("void-split", lambda root: [save(mask(root, n), np.full(SHAPE, 255, np.uint8)) for n in (3, 4, 5)] and None),
    "val shows one class": ("one-class", lambda root: [save(mask(root, n), np.ones(SHAPE, np.uint8)) for n in (3, 4, 5)] and None),
    "other numbers": ("stray-label", all_masks(lambda labels: np.where(labels < 255, labels * 50, 255).astype(np.uint8))),
    # labels that are not what they seem
    "palettes of editors": ("palette-conflict", indexed),
    "palettes of quantize": ("palette-conflict", quantized),
    "GIF called .png": ("palette-conflict", gif_called_png),
    "JPEG called .png": ("lossy-mask", all_masks(lambda labels: labels, format="JPEG")),
    "lossy WebP called .png": ("lossy-mask", all_masks(lambda labels: labels, format="WEBP")),
    "ids in red": ("channel-mask", all_masks(in_channel(0))),
    "ids in blue": ("channel-mask", all_masks(in_channel(2))),
    "ids in alpha": ("unreadable-mask", all_masks(lambda labels: np.dstack([0 * labels] * 3 + [labels]))),
    "RGBA": ("color-mask", all_masks(lambda labels: np.dstack([labels] * 3 + [0 * labels + 255]))),
    "colors of no class": ("unknown-color", all_masks(lambda labels: np.array(COLORS, np.uint8)[labels % 4] + np.uint8(7))),
    "65535 is void": ("deep-mask", all_masks(lambda labels: np.where(labels == 255, 65535, labels).astype(np.uint16))),
    "labels over 255": ("stray-label", all_masks(lambda labels: labels.astype(np.uint16) * 300)),
    "floats": ("stray-label", all_masks(lambda labels: (labels / 255).astype(np.float32), format="TIFF")),
    "whole floats": ("deep-mask", all_masks(lambda labels: labels.astype(np.float32), format="TIFF")),
    # identity
    "an id twice": ("repeated-id", lines("p3", "p4", "p3")),
    "an id as id and as path": ("repeated-id", lines("p3", "JPEGImages\\p3.jpg")),
    "two ids in a line": ("unreadable-list", lines("p3 JPEGImages/p4.jpg")),
    "an id of no image": ("missing-image", lines("p3", "q")),
    "an id of another case": ("missing-image", lines("p3", "P4")),
    "two suffixes": ("same-stem", second_file(voc.IMAGES, "p3.webp")),
    "two cases of a suffix": ("same-stem", second_file(voc.MASKS, "p3.PNG")),
    "paths": ("list-of-files", renamed(lambda n: f"p{n}", lambda n: f"/JPEGImages/p{n}.jpg /SegmentationClass/p{n}.png")),
    "paths of Windows": ("list-of-files", renamed(lambda n: f"p{n}", lambda n: f"JPEGImages\\p{n}.jpg,Masks\\p{n}.png")),
    # files that are none of the data
    "AVIF": ("unknown-file", foreign("a.avif")),
    "JPEG 2000": ("unknown-file", foreign("a.jp2")),
    "HEIC": ("unknown-file", foreign("a.HEIC")),
    "masks as .npy": ("unknown-file", lambda root: (root / voc.MASKS / "p3.npy").touch()),
    # pipes, devices, loops
    "a pipe as image": ("unreadable-image", instead(lambda root: image(root, 3), os.mkfifo)),
    "a pipe as mask": ("unreadable-mask", instead(lambda root: mask(root, 3), os.mkfifo)),
    "a pipe as list": ("unreadable-list", instead(lambda root: lists(root, "val"), os.mkfifo)),
    "a device as list": ("unreadable-list", instead(lambda root: lists(root, "val"), lambda path: path.symlink_to("/dev/zero"))),
    "a device as image": ("unreadable-image", instead(lambda root: image(root, 3), lambda path: path.symlink_to("/dev/zero"))),
    "a loop as mask": ("unreadable-mask", instead(lambda root: mask(root, 3), lambda path: path.symlink_to(path.name))),
    "a folder as image": ("unreadable-image", instead(lambda root: image(root, 3), Path.mkdir)),
}  # fmt: skip
PASSES = {"paths", "paths of Windows", "AVIF", "JPEG 2000", "HEIC", "masks as .npy"}
"""What is no fault of the split itself: it can be trained on and scored."""


def verbs(root: Path, tmp_path: Path, images_only: bool) -> Iterator[Callable[[], object]]:
    yield lambda: check_split(SplitDataset(VocFolder.find(root), "val"))  # training
    yield lambda: vocseg.evaluate(vocseg.create_model("simple_conv_net", VocFolder.find(root).classes), root, device="cpu")
    if images_only:
        return  # the others read no images
    yield lambda: statistics(root, "val")
    predictions = tmp_path / "predictions"
    predictions.mkdir()
    for path in (root / voc.IMAGES).iterdir():
        save(predictions / f"{path.stem}.png", np.zeros(SHAPE, dtype=np.uint8))
    yield lambda: score(predictions, root)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_doctor_names_it_and_no_verb_passes_over_it(data: Path, tmp_path: Path, fault: str) -> None:
    kind, damage = FAULTS[fault]
    damage(data)
    found = {finding.kind for finding in examine(data).findings}
    assert kind in found
    for verb in verbs(data, tmp_path, kind == "unreadable-image"):
        if fault in PASSES:
            verb()
        else:
            with pytest.raises(DataError):
                verb()


HARMLESS: dict[str, Callable[[Path], None]] = {
    "blanks": renamed(lambda n: f"weed ({n})"),
    "blanks and carriage returns": renamed(lambda n: f"weed ({n}) copy", end=" \r\n\r\n"),
    "a flag after the id": renamed(lambda n: f"p{n}", lambda n: f"p{n}  {n % 3 - 1}"),
    "counts after the id": renamed(lambda n: f"p{n}", lambda n: f"p{n}\t12 34"),
    "a byte order mark": lambda root: lists(root, "val").write_bytes(b"\xef\xbb\xbfp3\r\np4\r\np5") and None,
    "UTF-16": lambda root: lists(root, "val").write_bytes("p3\np4\np5\n".encode("utf-16")) and None,
    "no ASCII": renamed(lambda n: f"größe {n}"),
    "accents taken apart": renamed(lambda n: f"gro\u0308\u00dfe {n}", lambda n: f"gr\u00f6\u00dfe {n}"),
    "dots": renamed(lambda n: f"2026.01.{n}"),
    "a number sign": renamed(lambda n: f"#{n}"),
    "macOS": lambda root: [foreign(name)(root) for name in ("._p3.jpg", ".DS_Store", "._q.png")] and None,
    "Windows": lambda root: [foreign(name)(root) for name in ("Thumbs.db", "desktop.ini")] and None,
    "hidden folders": lambda root: [(root / voc.IMAGES / name).mkdir() for name in (".thumbnails", ".Trashes")] and None,
    "a loop of folders": lambda root: (root / voc.IMAGES / "again").symlink_to(root) and None,
    "capital suffixes": lambda root: image(root, 3).rename(image(root, 3).with_suffix(".JPG")) and None,
}
"""What is no fault: all of it is read, and nothing is said about it."""


@pytest.mark.parametrize("what", HARMLESS)
def test_what_is_no_fault(data: Path, tmp_path: Path, what: str) -> None:
    before = [finding.kind for finding in examine(data).findings]
    HARMLESS[what](data)
    assert [finding.kind for finding in examine(data).findings] == before
    assert len(VocFolder.find(data).ids("val")) == 3
    for verb in verbs(data, tmp_path, images_only=False):
        verb()
