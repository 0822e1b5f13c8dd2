"""Score enlarged images of a split, shrunk for the network to several shorter sides: Markdown rows.

    python benchmarks/large_images.py data --split val_dev --images 64

Images are enlarged by Pillow (bicubic), their masks by nearest neighbor; each prediction is scored at the enlarged
size. The default of ``Segmenter(max_short_side=...)`` was chosen by this table.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from vocseg.data.dataset import SplitDataset
from vocseg.data.layout import VocFolder
from vocseg.data.transforms.geometry import resize_mask
from vocseg.inference.segmenter import Segmenter
from vocseg.metrics import ConfusionMatrix
from vocseg.utils.system import machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--split", default="val_dev")
    parser.add_argument("--model", default="vocseg-s")
    parser.add_argument("--images", type=int, default=64, help="number of images, evenly spaced in the split")
    parser.add_argument("--factors", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--sides", type=int, nargs="+", default=[375, 448, 512, 576, 640, 768, 1024, 0], help="0: not shrunk")
    arguments = parser.parse_args()
    dataset = SplitDataset(VocFolder.find(arguments.data), arguments.split)
    segment = Segmenter(arguments.model, precision="float32", engine="torch")
    cases = [(side, factor) for side in arguments.sides for factor in arguments.factors]
    matrices = {case: ConfusionMatrix(segment.info.classes) for case in cases}
    indices = np.linspace(0, len(dataset) - 1, min(arguments.images, len(dataset))).round().astype(int)
    for index in tqdm(indices):
        sample = dataset[int(index)]
        image = Image.fromarray(sample.image.permute(1, 2, 0).numpy())
        for factor in arguments.factors:
            large = image.resize((image.width * factor, image.height * factor), Image.Resampling.BICUBIC)
            truth = resize_mask(sample.mask, (large.height, large.width))
            masks: dict[tuple[int, int], torch.Tensor] = {}
            for side in arguments.sides:
                segment.max_short_side = side
                size = segment.network_size(large.height, large.width)
                if size not in masks:
                    masks[size] = segment(large).mask
                matrices[side, factor].update(masks[size], truth)
    print(f"mIoU in % on {len(indices)} images of {arguments.split}, {arguments.model}, {machine()}\n")
    print(f"| shorter side | {' | '.join(f'{factor} x' for factor in arguments.factors)} |")
    print(f"|---|{'---:|' * len(arguments.factors)}")
    for side in arguments.sides:
        values = [matrices[side, factor].compute().miou or 0 for factor in arguments.factors]
        print(f"| {side or 'not shrunk'} | {' | '.join(f'{100 * value:.1f}' for value in values)} |")


if __name__ == "__main__":
    main()
