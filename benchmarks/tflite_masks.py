"""Save the masks of a TensorFlow Lite segmentation network for a split, for `vocseg score`.

    pip install ai-edge-litert
    python benchmarks/tflite_masks.py deeplabv3_mnv2_pascal_quant.tflite data val masks

For networks like TensorFlow's quantized DeepLabV3, from one uint8 RGB image to class ids. The image is placed at the
top left of a gray canvas of the network's input size, and shrunk first if it is larger.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from tqdm import tqdm

from vocseg import draw
from vocseg.bench.tflite import TfliteNetwork
from vocseg.data.dataset import SplitDataset
from vocseg.data.layout import VocFolder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("split")
    parser.add_argument("out", type=Path)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    segment = TfliteNetwork(arguments.network, arguments.threads)
    dataset = SplitDataset(VocFolder.find(arguments.data), arguments.split)
    times = []
    for index in tqdm(range(len(dataset)), unit="image", disable=None):
        sample = dataset.read(index)
        start = time.perf_counter()
        mask = segment(sample.image)
        times.append(time.perf_counter() - start)
        draw.save_mask(mask, arguments.out / f"{sample.name}.png")
    print(f"{len(times)} masks in {arguments.out}; median {1000 * statistics.median(times):.1f} ms per image")


if __name__ == "__main__":
    main()
