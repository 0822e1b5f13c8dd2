"""Save the masks of a TensorFlow Lite segmentation network for a split, to be scored by `vocseg score`.

    pip install ai-edge-litert
    python benchmarks/tflite_masks.py deeplabv3_mnv2_pascal_quant.tflite data val masks

For networks like TensorFlow's quantised DeepLabV3: one uint8 RGB picture in, class ids out. A picture goes to the top
left of a grey canvas of the network's input size, shrunk first where it is larger.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from tqdm import tqdm

from vocseg import draw
from vocseg.data.dataset import VocDataset
from vocseg.data.layout import VocFolder
from vocseg.data.transforms import resize_mask, resize_picture

GREY = 128


def segment(network: Interpreter, picture: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Mask (uint8, H x W) of a picture (uint8, 3 x H x W), and the seconds that the network took."""
    source, target = network.get_input_details()[0], network.get_output_details()[0]
    _, height, width, _ = source["shape"]
    scale = min(1.0, height / picture.shape[1], width / picture.shape[2])
    size = (round(picture.shape[1] * scale), round(picture.shape[2] * scale))
    small = picture if scale == 1 else resize_picture(picture, size)
    canvas: NDArray[np.uint8] = np.full((1, height, width, 3), GREY, dtype=np.uint8)
    canvas[0, : size[0], : size[1]] = small.permute(1, 2, 0).numpy()
    start = time.perf_counter()
    network.set_tensor(source["index"], canvas)
    network.invoke()
    labels = network.get_tensor(target["index"])
    seconds = time.perf_counter() - start
    mask = torch.from_numpy(labels.reshape(height, width)[: size[0], : size[1]].astype(np.uint8))
    return (mask if scale == 1 else resize_mask(mask, tuple(picture.shape[1:]))), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("split")
    parser.add_argument("out", type=Path)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    network = Interpreter(str(arguments.network), num_threads=arguments.threads)
    network.allocate_tensors()
    dataset = VocDataset(VocFolder.find(arguments.data), arguments.split)
    times = []
    for index in tqdm(range(len(dataset)), unit="picture", disable=None):
        sample = dataset.read(index)
        mask, seconds = segment(network, sample.picture)
        draw.save_mask(mask, arguments.out / f"{sample.name}.png")
        times.append(seconds)
    print(f"{len(times)} masks in {arguments.out}; median {1000 * statistics.median(times):.1f} ms a picture")


if __name__ == "__main__":
    main()
