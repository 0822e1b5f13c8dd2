"""Draw a small synthetic data set in VOC layout: textured shapes on textured ground, with void borders."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from vocseg import draw, voc
from vocseg.errors import SettingError
from vocseg.utils.files import building, write_text
from vocseg.utils.progress import progress

CLASSES = ("background", "disc", "square", "triangle", "cross", "ring")
"""One shape each. A class differs from the others in outline, texture and, loosely, color."""

HUES = (None, (214, 72, 60), (66, 124, 214), (84, 176, 80), (222, 182, 50), (164, 84, 190))
MIN_SIZE = 16

POLYGONS: dict[str, list[list[tuple[float, float]]]] = {
    "square": [[(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)]],
    "triangle": [[(math.cos(angle) * 1.15, math.sin(angle) * 1.15) for angle in (0, 2 * math.pi / 3, 4 * math.pi / 3)]],
    "cross": [[(-1, -0.35), (1, -0.35), (1, 0.35), (-1, 0.35)], [(-0.35, -1), (0.35, -1), (0.35, 1), (-0.35, 1)]],
}
ELLIPSES: dict[str, list[tuple[float, int]]] = {"disc": [(1, 1)], "ring": [(1, 1), (0.5, 0)]}
"""Radius and fill."""

Pixels = NDArray[np.float32]


def write_synthetic(
    folder: Path, *, train: int = 200, val: int = 50, size: tuple[int, int] = (128, 160), seed: int = 0
) -> dict[str, int]:
    """Write ``train`` + ``val`` images of about ``size`` (height, width) in VOC layout to ``folder``.

    The same seed gives the same images and masks. Returns the number of images that show each class. Raises OutputError
    if the folder is not empty or cannot be written, SettingError for numbers that are too small; then nothing is written.
    """
    if train < 1 or val < 1:
        raise SettingError(f"a data set needs at least one train and one val image, not {train} and {val}")
    if min(size) < MIN_SIZE:
        raise SettingError(f"size {size[0]}x{size[1]} is too small for shapes; at least {MIN_SIZE}x{MIN_SIZE}")
    with building(folder) as temporary:
        return _write(temporary, train, val, size, seed)


def _write(folder: Path, train: int, val: int, size: tuple[int, int], seed: int) -> dict[str, int]:
    names = [f"synth_{number:06d}" for number in range(train + val)]
    shown = dict.fromkeys(CLASSES, 0)
    for number, name in enumerate(progress(names, len(names), "draw")):
        image, mask = draw_sample(np.random.default_rng((seed, number)), size)
        draw.save_image(Image.fromarray(image), folder / voc.IMAGES / f"{name}.jpg")
        draw.save_mask(torch.from_numpy(mask), folder / voc.MASKS / f"{name}.png")
        for label in np.unique(mask[mask != voc.VOID]):
            shown[CLASSES[label]] += 1
    write_text(folder / voc.CLASSES_FILE, "".join(f"{name}\n" for name in CLASSES))
    for split, members in (("train", names[:train]), ("val", names[train:]), ("trainval", names)):
        write_text(folder / voc.SPLITS / f"{split}.txt", "".join(f"{name}\n" for name in members))
    return shown


def draw_sample(rng: np.random.Generator, size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw an image (uint8, H x W x 3) and its mask (uint8, H x W) with one to four shapes; sizes vary by a tenth."""
    height, width = (max(MIN_SIZE, round(side * rng.uniform(0.9, 1.1))) for side in size)
    image = _ground(rng, height, width)
    mask = np.zeros((height, width), dtype=np.uint8)
    for _ in range(rng.integers(1, 5)):
        label = int(rng.integers(1, len(CLASSES)))
        inside = _shape(rng, label, height, width)
        image[inside] = _texture(rng, label, height, width)[inside]
        mask[inside] = label
    image += rng.normal(0, 6, image.shape).astype(np.float32)
    # As in VOC's masks, the pixels on both sides of each outline are void.
    border = ndimage.maximum_filter(mask, 3, mode="nearest") != ndimage.minimum_filter(mask, 3, mode="nearest")
    return image.clip(0, 255).astype(np.uint8), np.where(border, np.uint8(voc.VOID), mask)


def _ground(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """Draw grayish clouds: noise at two scales, smoothly enlarged."""
    clouds = np.zeros((height, width, 3), dtype=np.float32)
    for cells, strength in ((4, 50), (16, 25)):
        noise = rng.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
        gray = noise.mean(axis=2, keepdims=True).repeat(3, axis=2)
        for channel in range(3):
            plane = Image.fromarray(0.6 * gray[..., channel] + 0.4 * noise[..., channel])
            clouds[..., channel] += strength * np.asarray(plane.resize((width, height), Image.Resampling.BICUBIC))
    return clouds + np.float32(rng.uniform(90, 165))


def _shape(rng: np.random.Generator, label: int, height: int, width: int) -> NDArray[np.bool_]:
    """Return the pixels of a randomly placed, scaled and rotated shape of a class."""
    radius = rng.uniform(0.16, 0.34) * min(height, width)
    x, y = rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.9) * height
    turn = rng.uniform(0, 2 * math.pi)
    cos, sin = math.cos(turn), math.sin(turn)
    canvas = Image.new("1", (width, height))
    pen = ImageDraw.Draw(canvas)
    for polygon in POLYGONS.get(CLASSES[label], ()):
        pen.polygon([(x + radius * (a * cos - b * sin), y + radius * (a * sin + b * cos)) for a, b in polygon], fill=1)
    for size, fill in ELLIPSES.get(CLASSES[label], ()):
        pen.ellipse((x - size * radius, y - size * radius, x + size * radius, y + size * radius), fill=fill)
    return np.asarray(canvas)


def _texture(rng: np.random.Generator, label: int, height: int, width: int) -> Pixels:
    """Draw the class's pattern (dots, checks, stripes, grain or waves) in a variation of its color."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    period = rng.uniform(5, 9)
    phase = rng.uniform(0, 2 * math.pi, 2)
    across, down = (2 * math.pi * axis / period + shift for axis, shift in ((columns, phase[0]), (rows, phase[1])))
    pattern = {
        "disc": np.cos(across) + np.cos(down) - 1,
        "square": np.sign(np.cos(across) * np.cos(down)),
        "triangle": np.sign(np.cos(across + down)),
        "cross": rng.uniform(-1, 1, (height, width)),
        "ring": np.cos(0.6 * (across - down)),
    }[CLASSES[label]]
    color = np.array(HUES[label], dtype=np.float32) + rng.uniform(-28, 28, 3)
    return (color + 32 * pattern[..., None]).astype(np.float32)
