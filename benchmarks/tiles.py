"""Segment mosaics of the photographs of a split in tiles: memory and time, or scores beside one piece.

    python benchmarks/tiles.py memory data --height 20000 --width 20000
    python benchmarks/tiles.py memory data --height 5000 --polygons
    python benchmarks/tiles.py scores data --tiles 512 1024
    python benchmarks/tiles.py scores data --tiles 512 1024 --same-pooling

The first needs the extra ``tiles``, and prints the peak memory of this process, the second mIoU on a mosaic of 375x500
photographs: each by itself, the mosaic in one piece, and in tiles; and the share of pixels on which tiles agree with one
piece. The third gives every tile the mean features of the whole mosaic instead of its own (image pooling of vocseg-s):
what is left of the difference comes from the tiles' borders.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vocseg.data.dataset import SplitDataset
from vocseg.data.image_io import read_mask
from vocseg.data.layout import VocFolder
from vocseg.inference.segmenter import Segmenter
from vocseg.metrics import ConfusionMatrix
from vocseg.models.zoo.deeplab_mobilenet import DeepLabMobileNetV2
from vocseg.utils.system import machine, peak_memory

HEIGHT, WIDTH = 375, 500
"""Size of the photographs that are used, the usual one."""
SIDE = 256


def cells(dataset: SplitDataset) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield image and mask of each photograph of the usual size."""
    for index in range(len(dataset)):
        sample = dataset[index]
        if sample.image.shape[1:] == (HEIGHT, WIDTH):
            yield sample.image, sample.mask


def tiles_of_mosaic(images: list[Tensor], height: int, width: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the tiles of a mosaic, row by row, in little memory."""
    per_row = -(-width // WIDTH)
    held = np.zeros((0, width, 3), np.uint8)
    number = 0
    for top in range(0, height, SIDE):
        rows = min(SIDE, height - top)
        while len(held) < rows:
            chosen = [images[(7919 * (number + place)) % len(images)] for place in range(per_row)]
            held = np.concatenate([held, torch.cat(chosen, 2).permute(1, 2, 0).numpy()[:, :width]])
            number += per_row
        yield from (held[:rows, left : left + SIDE] for left in range(0, width, SIDE))
        held = held[rows:]


def measure_memory(dataset: SplitDataset, segment: Segmenter, height: int, width: int, tile: int, polygons: bool) -> None:
    import tifffile

    images = [image for (image, _), _ in zip(cells(dataset), range(64), strict=False)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mosaic.tif"
        with tifffile.TiffWriter(path, bigtiff=True) as file:
            options = {"shape": (height, width, 3), "dtype": np.uint8, "tile": (SIDE, SIDE), "photometric": "rgb"}
            file.write(tiles_of_mosaic(images, height, width), compression="zlib", **options)
        result = segment.segment_tiled(path, Path(folder) / "mask.tif", tile=tile, title="tiles", polygons=polygons)
    print(f"{result.size[1]} x {result.size[0]} pixels, {result.tiles} tiles of {result.tile}: {result.seconds:.0f} s, ", end="")
    print(f"peak memory {(peak_memory() or 0) / 1e6:.0f} MB")
    if polygons:
        rings = [ring for parts in result.regions().values() for part in parts for ring in part.rings]
        print(f"{len(rings):,} rings of {sum(map(len, rings)):,} corners")


@contextlib.contextmanager
def same_pooling(segment: Segmenter, image: Tensor) -> Iterator[None]:
    """Let the image pooling of vocseg-s see the mean features of ``image``, whatever the network runs on."""
    means: list[Tensor] = []

    def context(base: DeepLabMobileNetV2, features: Tensor) -> Tensor:
        own = base.aspp0(features)
        if not means:
            means.append(features.mean((2, 3), keepdim=True))
        return base.concat_projection(torch.cat([base.image_pooling(means[0]).expand_as(own), own], 1))

    with mock.patch.object(DeepLabMobileNetV2, "context", context):
        segment(image)
        yield


def measure_scores(dataset: SplitDataset, segment: Segmenter, count: int, tiles: list[int], pooling: bool) -> None:
    found = [cell for cell, _ in zip(cells(dataset), range(count), strict=False)]
    rows = [found[start : start + 8] for start in range(0, len(found) // 8 * 8, 8)]
    image = torch.cat([torch.cat([each for each, _ in row], 2) for row in rows], 1)
    truth = torch.cat([torch.cat([mask for _, mask in row], 1) for row in rows], 0)
    apart = torch.cat([torch.cat([segment(each).mask for each, _ in row], 1) for row in rows], 0)
    one = segment(image).mask
    masks = {"each photograph by itself": apart, "one piece": one}
    with tempfile.TemporaryDirectory() as folder, same_pooling(segment, image) if pooling else contextlib.nullcontext():
        for tile in tiles:
            result = segment.segment_tiled(image, f"{folder}/mask.png", tile=tile)
            masks[f"tiles of {result.tile}"] = read_mask(f"{folder}/mask.png")
    print(f"mosaic of {8 * len(rows)} photographs, {image.shape[1]}x{image.shape[2]}\n")
    print("| | mIoU, % | as one piece, % |\n|---|---:|---:|")
    for name, mask in masks.items():
        matrix = ConfusionMatrix(segment.info.classes)
        matrix.update(mask, truth)
        print(f"| {name} | {100 * (matrix.compute().miou or 0):.1f} | {100 * (mask == one).double().mean():.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["memory", "scores"])
    parser.add_argument("data")
    parser.add_argument("--split", default="val_dev")
    parser.add_argument("--model", default="vocseg-s")
    parser.add_argument("--height", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=20_000)
    parser.add_argument("--images", type=int, default=80, help="photographs of the mosaic that is scored, a multiple of 8")
    parser.add_argument("--tiles", type=int, nargs="+", default=[512])
    parser.add_argument("--same-pooling", action="store_true", help="of vocseg-s: tiles see the mosaic's mean features")
    parser.add_argument("--polygons", action="store_true", help="trace polygons too")
    arguments = parser.parse_args()
    dataset = SplitDataset(VocFolder.find(arguments.data), arguments.split)
    segment = Segmenter(arguments.model, device="cpu", engine="torch", max_short_side=0)
    print(f"{arguments.model} in {segment.precision}, {machine()}")
    if arguments.what == "memory":
        measure_memory(dataset, segment, arguments.height, arguments.width, arguments.tiles[0], arguments.polygons)
    else:
        measure_scores(dataset, segment, arguments.images, arguments.tiles, arguments.same_pooling)


if __name__ == "__main__":
    main()
