"""Small data sets that tests write in many formats: masks of blocks, and photos of noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from vocseg import voc
from vocseg.convert.regions import Region
from vocseg.data.image_io import read_mask
from vocseg.data.layout import VocFolder

Scenes = dict[str, np.ndarray]


HEIGHT, WIDTH = 24, 32


COLORS = {"sky": (70, 130, 180), "road": (128, 64, 128), "car": (0, 0, 142), "mark": (9, 9, 9)}


def scenes(count: int = 6, labels: int = 4, void: int | None = None) -> Scenes:
    """Masks of blocks of labels 0 to ``labels`` - 1, with a stripe of ``void``."""
    made = {}
    for number in range(count):
        rng = np.random.default_rng(number)
        mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        for label in range(1, labels):
            top, left = rng.integers(0, 14), rng.integers(0, 22)
            mask[top : top + 8, left : left + 9] = label
        if void is not None:
            mask[-3:, 4:20] = void
        made[f"scene_{number:03d}"] = mask
    return made


def photo(number: int) -> Image.Image:
    noise = np.random.default_rng(1000 + number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


def put(path: Path, content: Image.Image | np.ndarray | str | dict | list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        path.write_text(content)
    elif isinstance(content, (dict, list)):
        path.write_text(json.dumps(content))
    else:
        (Image.fromarray(content) if isinstance(content, np.ndarray) else content).save(path)
    return path


def put_images(folder: Path, names: Scenes, form: str = "{}.jpg") -> None:
    for number, name in enumerate(names):
        put(folder / form.format(name), photo(number))


def in_folders(root: Path, made: Scenes) -> Path:
    put_images(root / "images", made)
    for name, mask in made.items():
        put(root / "masks" / f"{name}.png", mask)
    return root


def masks_of(out: Path, mask_dir: str = voc.MASKS) -> Scenes:
    folder = VocFolder.find(out, mask_dir)
    for split in folder.splits:
        folder.ids(split)
    found = {path.stem: read_mask(path, len(folder.classes)).numpy() for path in sorted((out / mask_dir).glob("*.png"))}
    for name, mask in found.items():
        with Image.open(folder.image(name)) as image:
            assert image.size == mask.shape[::-1]
    return found


def same(one: Scenes, other: Scenes) -> bool:
    return list(one) == list(other) and all(np.array_equal(one[name], other[name]) for name in one)


def whole(region: Region, height: int, width: int) -> np.ndarray:
    """Return a region as pixels of the whole image."""
    pixels = np.zeros((height, width), dtype=bool)
    pixels[region.box] = region.pixels
    return pixels


def with_void(masks: Scenes, void: int) -> Scenes:
    return {name: np.where(mask == void, 255, mask).astype(np.uint8) for name, mask in masks.items()}


def colored(mask: np.ndarray) -> np.ndarray:
    return np.array(list(COLORS.values()), dtype=np.uint8)[mask]
