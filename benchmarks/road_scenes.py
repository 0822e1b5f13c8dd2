"""Draw road scenes in VOC layout, with seven classes, to see how fast vocseg-s learns classes of its own.

python benchmarks/road_scenes.py roads
vocseg train --data roads --config finetune --out runs/roads
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from vocseg import draw, voc
from vocseg.utils.files import building, write_text
from vocseg.utils.progress import progress

CLASSES = ("sky", "road", "marking", "building", "tree", "car", "pedestrian")
SIZE = 480, 360

Point = tuple[float, float]


class Scene:
    """A picture and its mask, drawn with the same outlines."""

    def __init__(self, seed: Sequence[int]) -> None:
        self.rng = np.random.default_rng(seed)
        self.image, self.mask = Image.new("RGB", SIZE), Image.new("L", SIZE)
        self.pens = ImageDraw.Draw(self.image), ImageDraw.Draw(self.mask)
        self.light = self.rng.uniform(0.45, 1.1)
        self.horizon = SIZE[1] * self.rng.uniform(0.35, 0.5)
        self.vanish = SIZE[0] * self.rng.uniform(0.3, 0.7)

    def color(self, *base: float, spread: float = 12) -> tuple[int, ...]:
        """Vary a color, in the light of the scene."""
        return tuple(int(np.clip((value + self.rng.normal(0, spread)) * self.light, 0, 255)) for value in base)

    def polygon(self, name: str, points: Sequence[Point], color: tuple[int, ...]) -> None:
        self.pens[0].polygon([*points], fill=color)
        self.pens[1].polygon([*points], fill=CLASSES.index(name))

    def ellipse(self, name: str, center: Point, radii: Point, color: tuple[int, ...]) -> None:
        box = (center[0] - radii[0], center[1] - radii[1], center[0] + radii[0], center[1] + radii[1])
        self.pens[0].ellipse(box, fill=color)
        self.pens[1].ellipse(box, fill=CLASSES.index(name))

    def box(self, name: str, left: float, top: float, right: float, bottom: float, color: tuple[int, ...]) -> None:
        self.polygon(name, [(left, top), (right, top), (right, bottom), (left, bottom)], color)

    def sky(self) -> None:
        cloudy = self.rng.uniform(0, 1)
        for row in range(round(self.horizon) + 2):
            depth = row / self.horizon
            top, low = np.array([90, 140, 215]) * (1 - cloudy) + 150 * cloudy, np.array([205, 220, 235])
            self.pens[0].line((0, row, SIZE[0], row), fill=self.color(*(top * (1 - depth) + low * depth), spread=1))
        for _ in range(self.rng.integers(0, 7)):
            center = self.rng.uniform(0, SIZE[0]), self.rng.uniform(0, self.horizon * 0.8)
            self.ellipse("sky", center, (self.rng.uniform(15, 70), self.rng.uniform(4, 14)), self.color(235, 238, 240))

    def road(self) -> None:
        width, height = SIZE
        self.polygon("road", [(0, self.horizon), (width, self.horizon), (width, height), (0, height)], self.color(105, 105, 108))
        for lane in self.rng.permutation(np.arange(-2, 3))[:3]:
            foot = width / 2 + lane * width * 0.45
            for start in np.arange(0.08, 1, 0.16) if self.rng.random() < 0.6 else [0.02]:
                end = start + 0.07 if start > 0.02 else 1.0
                self.stripe(foot, start, end)

    def stripe(self, foot: float, start: float, end: float) -> None:
        def at(depth: float, side: float) -> Point:
            x = self.vanish + (foot + side * 7 - self.vanish) * depth
            return x, self.horizon + (SIZE[1] - self.horizon) * depth

        self.polygon("marking", [at(start, -1), at(start, 1), at(end, 1), at(end, -1)], self.color(225, 222, 205))

    def house(self) -> None:
        left, width = self.rng.uniform(-40, SIZE[0]), self.rng.uniform(50, 150)
        top, foot = self.horizon * self.rng.uniform(0.05, 0.75), self.horizon + self.rng.uniform(2, 14)
        wall, glass = self.color(*self.rng.uniform(90, 200, 3)), self.color(60, 75, 95)
        self.box("building", left, top, left + width, foot, wall)
        step = self.rng.uniform(12, 22)
        for x in np.arange(left + 5, left + width - step * 0.6, step):
            for y in np.arange(top + 6, foot - step * 0.7, step):
                self.box("building", x, y, x + step * 0.5, y + step * 0.6, glass)

    def tree(self) -> None:
        x, size = self.rng.uniform(0, SIZE[0]), self.rng.uniform(14, 55)
        foot = self.horizon + size * 0.4
        self.box("tree", x - size / 10, foot - size, x + size / 10, foot, self.color(85, 65, 45))
        for _ in range(14):
            center = x + self.rng.normal(0, size * 0.35), foot - size * 1.3 + self.rng.normal(0, size * 0.3)
            self.ellipse("tree", center, (size * 0.32, size * 0.28), self.color(60, 105, 50, spread=18))

    def car(self, depth: float) -> None:
        size = 20 + 110 * depth
        x, foot = self.rng.uniform(0, SIZE[0]), self.horizon + (SIZE[1] - self.horizon) * depth
        paint, dark = self.color(*self.rng.uniform(20, 235, 3)), self.color(25, 25, 28, spread=4)
        left, right = x - size / 2, x + size / 2
        self.polygon(
            "car",
            [
                (left + size * 0.2, foot - size * 0.35),
                (left + size * 0.32, foot - size * 0.58),
                (right - size * 0.3, foot - size * 0.58),
                (right - size * 0.12, foot - size * 0.35),
            ],
            self.color(70, 85, 100),
        )
        self.box("car", left, foot - size * 0.38, right, foot - size * 0.1, paint)
        for wheel in (left + size * 0.22, right - size * 0.22):
            self.ellipse("car", (wheel, foot - size * 0.1), (size * 0.1, size * 0.1), dark)
        self.ellipse("car", (right - size * 0.04, foot - size * 0.28), (size * 0.03, size * 0.04), self.color(250, 240, 190))

    def pedestrian(self, depth: float) -> None:
        size = 14 + 75 * depth
        x, foot = self.rng.uniform(0, SIZE[0]), self.horizon + (SIZE[1] - self.horizon) * depth
        coat, legs = self.color(*self.rng.uniform(30, 220, 3)), self.color(*self.rng.uniform(20, 90, 3))
        for side in (-1, 1):
            stride = side * size * self.rng.uniform(0.03, 0.12)
            points = [(x, foot - size * 0.5), (x + stride + size * 0.05, foot), (x + stride - size * 0.05, foot)]
            self.polygon("pedestrian", points, legs)
        self.ellipse("pedestrian", (x, foot - size * 0.62), (size * 0.13, size * 0.22), coat)
        self.ellipse("pedestrian", (x, foot - size * 0.92), (size * 0.07, size * 0.08), self.color(200, 160, 135, spread=30))

    def draw(self) -> tuple[Image.Image, NDArray[np.uint8]]:
        """Draw from far to near, then blur and add noise as a camera does."""
        self.sky()
        for _ in range(self.rng.integers(2, 7)):
            self.house()
        self.road()
        for _ in range(self.rng.integers(1, 6)):
            self.tree()
        for depth in sorted(self.rng.uniform(0.05, 0.9, self.rng.integers(1, 7))):
            (self.car if self.rng.random() < 0.6 else self.pedestrian)(depth)
        pixels = np.asarray(self.image.filter(ImageFilter.GaussianBlur(self.rng.uniform(0.4, 1.2)))).astype(np.float32)
        noisy = pixels + self.rng.normal(0, self.rng.uniform(2, 10), pixels.shape)
        return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), np.array(self.mask)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--train", type=int, default=120)
    parser.add_argument("--val", type=int, default=60)
    arguments = parser.parse_args()
    names = [f"road_{number:04d}" for number in range(arguments.train + arguments.val)]
    with building(arguments.out) as folder:
        for number, name in enumerate(progress(names, len(names), "draw")):
            image, mask = Scene((0, number)).draw()
            draw.save_image(image, folder / voc.IMAGES / f"{name}.jpg")
            draw.save_mask(torch.from_numpy(mask), folder / voc.MASKS / f"{name}.png")
        write_text(folder / voc.CLASSES_FILE, "".join(f"{name}\n" for name in CLASSES))
        for split, members in (("train", names[: arguments.train]), ("val", names[arguments.train :])):
            write_text(folder / voc.SPLITS / f"{split}.txt", "".join(f"{name}\n" for name in members))
    print(arguments.out)


if __name__ == "__main__":
    main()
