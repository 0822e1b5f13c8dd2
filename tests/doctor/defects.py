"""Every defect that the doctor knows, made by hand: each function damages a small data set in one way.

A data set of ``write_synthetic`` has ids ``synth_000000`` to ``synth_000005`` in train, to ``synth_000009`` in val, both in
trainval, and classes ``background`` to ``ring``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from vocseg import voc

Damage = Callable[[Path], set[str]]
"""Damages a data set in place and returns the files (as findings name them) where the doctor is to find it."""


def name(number: int) -> str:
    return f"synth_{number:06d}"


def image_path(root: Path, number: int) -> Path:
    return root / voc.IMAGES / f"{name(number)}.jpg"


def mask(root: Path, number: int) -> Path:
    return root / voc.MASKS / f"{name(number)}.png"


def labels(root: Path, number: int) -> np.ndarray:
    return np.array(Image.open(mask(root, number)))


def split(root: Path, split_name: str) -> Path:
    return root / voc.SPLITS / f"{split_name}.txt"


def save(array: np.ndarray, path: Path) -> None:
    """As palette PNG with VOC's colors."""
    image = Image.fromarray(array.astype(np.uint8), mode="P")
    image.putpalette([part for color in voc.PALETTE for part in color])
    image.save(path)


def in_masks(*numbers: int) -> set[str]:
    return {f"{voc.MASKS}/{name(number)}.png" for number in numbers}


def in_images(*numbers: int) -> set[str]:
    return {f"{voc.IMAGES}/{name(number)}.jpg" for number in numbers}


def missing_image(root: Path) -> set[str]:
    image_path(root, 1).unlink()
    mask(root, 1).unlink()
    return {name(1)}


def missing_mask(root: Path) -> set[str]:
    mask(root, 1).unlink()
    return {name(1)}


def orphan_mask(root: Path) -> set[str]:
    shutil.copy(mask(root, 1), root / voc.MASKS / "stranger.png")
    return {f"{voc.MASKS}/stranger.png"}


def orphan_image(root: Path) -> set[str]:
    Image.new("RGB", (9, 9)).save(root / voc.IMAGES / "stranger.jpg")
    return {voc.IMAGES}


def unlisted(root: Path) -> set[str]:
    Image.new("RGB", (9, 9)).save(root / voc.IMAGES / "stranger.jpg")
    save(np.zeros((9, 9)), root / voc.MASKS / "stranger.png")
    return {voc.SPLITS}


def unknown_file(root: Path) -> set[str]:
    Image.new("L", (9, 9)).save(root / voc.MASKS / "synth_000001.jpg")
    (root / voc.IMAGES / "other.heic").touch()
    (root / voc.MASKS / "Thumbs.db").touch()
    return {f"{voc.MASKS}/synth_000001.jpg", f"{voc.IMAGES}/other.heic"}


def same_stem(root: Path) -> set[str]:
    Image.new("RGB", (9, 9)).save(root / voc.IMAGES / "synth_000001.png")
    return {f"{voc.IMAGES}/synth_000001.png"}


def no_lists(root: Path) -> set[str]:
    shutil.rmtree(root / "ImageSets")
    return {voc.SPLITS}


def unreadable_list(root: Path) -> set[str]:
    split(root, "odd").write_bytes(b"\xff\xfe\x00")
    split(root, "void").write_text("\n \n")
    return {f"{voc.SPLITS}/odd.txt", f"{voc.SPLITS}/void.txt"}


def repeated_id(root: Path) -> set[str]:
    with open(split(root, "train"), "a") as file:
        file.write(f"{name(1)}\n")
    return {f"{voc.SPLITS}/train.txt"}


def list_of_files(root: Path) -> set[str]:
    ids = split(root, "train").read_text().split()
    split(root, "train").write_text("".join(f"/JPEGImages/{id_}.jpg /SegmentationClass/{id_}.png\n" for id_ in ids))
    return {f"{voc.SPLITS}/train.txt"}


def other_masks(root: Path) -> set[str]:
    shutil.copytree(root / voc.MASKS, root / "SegmentationClassAug")
    shutil.copy(image_path(root, 1), root / voc.IMAGES / "extra.jpg")
    Image.effect_noise((64, 48), 60).convert("RGB").save(root / voc.IMAGES / "extra.jpg")
    save(np.ones((48, 64)), root / "SegmentationClassAug" / "extra.png")
    split(root, "trainaug").write_text(split(root, "train").read_text() + "extra\n")
    return {f"{voc.SPLITS}/trainaug.txt"}


def truncated_image(root: Path) -> set[str]:
    content = image_path(root, 1).read_bytes()
    image_path(root, 1).write_bytes(content[:-40])
    image_path(root, 2).write_bytes(b"")
    image_path(root, 3).write_text("<html>404</html>")
    return in_images(1, 2, 3)


def unreadable_mask(root: Path) -> set[str]:
    content = mask(root, 1).read_bytes()
    mask(root, 1).write_bytes(content[: len(content) // 2])
    mask(root, 2).write_bytes(b"GIF89a")
    return in_masks(1, 2)


def size_mismatch(root: Path) -> set[str]:
    save(labels(root, 1)[1:], mask(root, 1))
    return in_masks(1)


def exif_rotated(root: Path) -> set[str]:
    for number, orientation in ((1, 6), (2, 5), (3, 7), (4, 8)):
        with Image.open(image_path(root, number)) as image:
            exif = image.getexif()
            exif[0x0112] = orientation
            image.save(image_path(root, number), exif=exif, quality=95)
    return in_masks(1, 2, 3, 4)


def exif_unclear(root: Path) -> set[str]:
    with Image.open(image_path(root, 1)) as image:
        exif = image.getexif()
        exif[0x0112] = 3
        image.save(image_path(root, 1), exif=exif, quality=95)
    return in_masks(1)


def color_masks(root: Path) -> set[str]:
    for number, mode in ((1, "RGB"), (2, "RGBA")):
        with Image.open(mask(root, number)) as image:
            image.convert("RGB").convert(mode).save(mask(root, number))
    ids = labels(root, 3)
    Image.fromarray(np.stack([ids] * 3, axis=-1)).save(mask(root, 3))
    Image.fromarray(labels(root, 4)).convert("LA").save(mask(root, 4))
    return in_masks(1, 2, 3, 4)


def unknown_color(root: Path) -> set[str]:
    ids = np.array(voc.PALETTE, dtype=np.uint8)[labels(root, 1)]
    ids[0, 0] = (1, 2, 3)
    Image.fromarray(ids).save(mask(root, 1))
    return in_masks(1)


def deep_mask(root: Path) -> set[str]:
    ids = labels(root, 1).astype(np.uint16)
    Image.fromarray(np.where(ids == voc.VOID, 65535, ids).astype(np.uint16)).save(mask(root, 1))
    return in_masks(1)


def one_channel(root: Path) -> set[str]:
    ids = labels(root, 1)
    ids[ids == voc.VOID] = 0
    Image.fromarray(np.stack([ids, 0 * ids, 0 * ids], -1)).save(mask(root, 1))
    return in_masks(1)


def jpeg_called_png(root: Path) -> set[str]:
    Image.fromarray(labels(root, 1)).save(mask(root, 1), format="JPEG")
    return in_masks(1)


def palettes_of_their_own(root: Path) -> set[str]:
    """As editors save indexed images: the colors of each file numbered anew."""
    for number in range(10):
        ids = labels(root, number)
        order = np.roll(np.unique(ids), number)
        image = Image.fromarray(np.argsort(order)[np.searchsorted(np.sort(order), ids)].astype(np.uint8), mode="P")
        image.putpalette([part for label in order for part in voc.PALETTE[label]])
        image.save(mask(root, number))
    return {voc.MASKS}


def deep_stray(root: Path) -> set[str]:
    ids = labels(root, 1).astype(np.uint16)
    ids[0, 0] = 700
    Image.fromarray(ids).save(mask(root, 1))
    return in_masks(1)


def stray_label(root: Path) -> set[str]:
    for number in (1, 7):
        ids = labels(root, number)
        ids[:2] = 11
        save(ids, mask(root, number))
    return in_masks(1, 7)


def binary(root: Path) -> set[str]:
    for number in range(10):
        ids = labels(root, number)
        Image.fromarray(np.where((ids > 0) & (ids < voc.VOID), 255, 0).astype(np.uint8)).save(mask(root, number))
    return in_masks(*(number for number in range(10) if labels(root, number).any()))


def reordered_palette(root: Path) -> set[str]:
    """As an image editor leaves it that sorts the palette; only without classes.txt are the colors known to be VOC's."""
    (root / voc.CLASSES_FILE).unlink()
    ids = labels(root, 1)
    used = np.unique(ids)
    order = used[::-1]  # new id i shows the color of order[i]
    image = Image.fromarray(np.searchsorted(-order.astype(int), -ids.astype(int)).astype(np.uint8), mode="P")
    image.putpalette([part for label in order for part in voc.PALETTE[label]])
    image.save(mask(root, 1))
    return in_masks(1)


def interpolated(root: Path) -> set[str]:
    """An object of a high id, resized as an image would be."""
    (root / voc.CLASSES_FILE).unlink()
    ids = np.zeros((30, 40), dtype=np.uint8)
    ids[8:24, 10:30] = 15
    height, width = labels(root, 1).shape
    save(np.array(Image.fromarray(ids).resize((width, height), Image.Resampling.BILINEAR)), mask(root, 1))
    return in_masks(1)


def all_void(root: Path) -> set[str]:
    save(np.full_like(labels(root, 1), voc.VOID), mask(root, 1))
    return in_masks(1)


def all_background(root: Path) -> set[str]:
    save(np.zeros_like(labels(root, 1)), mask(root, 1))
    return in_masks(1)


def void_objects(root: Path) -> set[str]:
    save(np.where(labels(root, 1) != 0, voc.VOID, 0).astype(np.uint8), mask(root, 1))
    return in_masks(1)


def gray_mask(root: Path) -> set[str]:
    Image.fromarray(labels(root, 1)).save(mask(root, 1))
    return in_masks(1)


def one_class_split(root: Path) -> set[str]:
    for number in range(6, 10):
        save(np.zeros_like(labels(root, number)), mask(root, number))
    return {"val"}


def void_split(root: Path) -> set[str]:
    for number in range(6, 10):
        save(np.full_like(labels(root, number), voc.VOID), mask(root, number))
    return {"val"}


def one_name(root: Path) -> set[str]:
    (root / voc.CLASSES_FILE).write_text("thing\n")
    for number in range(10):
        save(np.where(labels(root, number) == 0, 0, voc.VOID), mask(root, number))
    return {"train", "val", "trainval"}


def sequence(root: Path) -> set[str]:
    """Twenty frames of a pan over a large image, of which every fifth is in val."""
    noise = np.random.default_rng(0).normal(0, 1, (60, 160, 3))
    smooth = 128 + 400 * ndimage.gaussian_filter(noise, (6, 6, 0))
    picture = Image.fromarray(smooth.clip(0, 255).astype(np.uint8)).resize((1600, 600))
    for number in range(20):
        picture.crop((45 * number, 0, 45 * number + 600, 600)).save(root / voc.IMAGES / f"pan_{number:03d}.jpg")
        save(np.ones((600, 600)), root / voc.MASKS / f"pan_{number:03d}.png")
        with open(split(root, "val" if number % 5 == 2 else "train"), "a") as file:
            file.write(f"pan_{number:03d}\n")
    return {"pan_*"}


def same_id(root: Path) -> set[str]:
    with open(split(root, "train"), "a") as file:
        file.write(f"{name(7)}\n")
    return {name(7)}


def overlap(root: Path) -> set[str]:
    split(root, "test").write_text(f"{name(8)}\nother\n")
    Image.effect_noise((64, 48), 60).convert("RGB").save(root / voc.IMAGES / "other.jpg")
    save(np.ones((48, 64)), root / voc.MASKS / "other.png")
    return {"test, val"}


def _copied(root: Path, source: int, split_name: str) -> None:
    shutil.copy(mask(root, source), root / voc.MASKS / "copy.png")
    with open(split(root, split_name), "a") as file:
        file.write("copy\n")


def leak(root: Path) -> set[str]:
    shutil.copy(image_path(root, 7), root / voc.IMAGES / "copy.jpg")
    _copied(root, 7, "train")
    return {name(7)}


def near_leak(root: Path) -> set[str]:
    """Mirrored and encoded again."""
    with Image.open(image_path(root, 7)) as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / voc.IMAGES / "copy.jpg", quality=60)
    _copied(root, 7, "train")
    return {name(7)}


def duplicate(root: Path) -> set[str]:
    shutil.copy(image_path(root, 2), root / voc.IMAGES / "copy.jpg")
    _copied(root, 2, "train")
    return {name(2)}


def near_duplicate(root: Path) -> set[str]:
    with Image.open(image_path(root, 2)) as image:
        image.save(root / voc.IMAGES / "copy.jpg", quality=50)
    _copied(root, 2, "train")
    return {name(2)}


def absent_class(root: Path) -> set[str]:
    with open(root / voc.CLASSES_FILE, "a") as file:
        file.write("unicorn\n")
    return {"train", "val", "trainval"}


def class_names(root: Path) -> set[str]:
    """As CVAT exports "Segmentation mask": colors in labelmap.txt, no classes.txt."""
    names = (root / voc.CLASSES_FILE).read_text().split()
    (root / voc.CLASSES_FILE).unlink()
    lines = [f"{name_}:{','.join(map(str, voc.PALETTE[label]))}::\n" for label, name_ in enumerate(names)]
    (root / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + "".join(lines))
    return {"labelmap.txt"}


DEFECTS: dict[str, tuple[str, Damage]] = {
    damage.__name__: (kind, damage)
    for kind, damage in (
        ("missing-image", missing_image),
        ("missing-mask", missing_mask),
        ("orphan-mask", orphan_mask),
        ("orphan-image", orphan_image),
        ("unlisted", unlisted),
        ("unknown-file", unknown_file),
        ("same-stem", same_stem),
        ("no-lists", no_lists),
        ("unreadable-list", unreadable_list),
        ("repeated-id", repeated_id),
        ("list-of-files", list_of_files),
        ("other-masks", other_masks),
        ("class-names", class_names),
        ("unreadable-image", truncated_image),
        ("unreadable-mask", unreadable_mask),
        ("size-mismatch", size_mismatch),
        ("exif-rotated", exif_rotated),
        ("exif-unclear", exif_unclear),
        ("color-mask", color_masks),
        ("unknown-color", unknown_color),
        ("deep-mask", deep_mask),
        ("channel-mask", one_channel),
        ("lossy-mask", jpeg_called_png),
        ("palette-conflict", palettes_of_their_own),
        ("stray-label", deep_stray),
        ("stray-label", stray_label),
        ("binary-mask", binary),
        ("reordered-palette", reordered_palette),
        ("interpolated", interpolated),
        ("all-void", all_void),
        ("all-background", all_background),
        ("void-objects", void_objects),
        ("gray-mask", gray_mask),
        ("one-class", one_class_split),
        ("void-split", void_split),
        ("one-name", one_name),
        ("sequence", sequence),
        ("same-id", same_id),
        ("overlap", overlap),
        ("leak", leak),
        ("near-leak", near_leak),
        ("duplicate", duplicate),
        ("near-duplicate", near_duplicate),
        ("absent-class", absent_class),
    )
}
"""By the name of its function: the kind of finding that a defect is to give, and what makes it."""
