"""Segmentation networks in TensorFlow Lite files, as peers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vocseg.data.transforms.geometry import resize_image, resize_mask
from vocseg.errors import ModelError
from vocseg.inference.options import require_packages

GRAY = 128
"""Fill color of the canvas around an image, 0..255."""


class TfliteNetwork:
    """Map an image (uint8 RGB, 3 x H x W) to its mask (uint8, H x W), with XNNPACK.

    The image is put at the top left of a gray canvas of the network's input size, shrunk first if it is larger. The
    network takes uint8 pixels, or float32 ones scaled to -1..1, and gives class ids or scores of the classes, channels
    last. Raises ModelError if the interpreter (ai-edge-litert) is not installed or the file is not such a network.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        require_packages("ai-edge-litert")
        from ai_edge_litert.interpreter import Interpreter

        try:
            self.network = Interpreter(str(path), num_threads=threads or torch.get_num_threads())
            self.network.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"cannot read TensorFlow Lite network {path}: {str(error).splitlines()[0]}") from error
        source, target = self.network.get_input_details()[0], self.network.get_output_details()[0]
        self.source, self.target, self.dtype = source["index"], target["index"], np.dtype(source["dtype"])
        shape = tuple(int(side) for side in source["shape"])
        if len(shape) != 4 or shape[0] != 1 or shape[3] != 3 or self.dtype not in (np.uint8, np.float32):
            described = f"{'x'.join(map(str, shape))} {self.dtype}"
            raise ModelError(f"TensorFlow Lite network {path} takes {described}, not one RGB image of uint8 or float32")
        self.height, self.width = shape[1:3]

    def __call__(self, image: Tensor) -> Tensor:
        size = (image.shape[1], image.shape[2])
        scale = min(1.0, self.height / size[0], self.width / size[1])
        shown = (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
        canvas = np.full((1, self.height, self.width, 3), GRAY, dtype=np.uint8)
        canvas[0, : shown[0], : shown[1]] = resize_image(image, shown).permute(1, 2, 0).numpy()
        pixels = canvas if self.dtype == np.uint8 else canvas.astype(np.float32) / 127.5 - 1
        self.network.set_tensor(self.source, pixels)
        self.network.invoke()
        output = self.network.get_tensor(self.target)[0]
        labels = output.argmax(2) if output.ndim == 3 and output.shape[2] > 1 else output.reshape(output.shape[:2])
        mask = resize_mask(torch.from_numpy(labels.astype(np.uint8)), (self.height, self.width))
        return resize_mask(mask[: shown[0], : shown[1]], size)
