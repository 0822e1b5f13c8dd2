"""Convert the 8-bit DeepLabV3 that TensorFlow publishes for phones to a model file of `deeplabv3_mobilenet_v2`.

    pip install ai-edge-litert
    curl -LO https://github.com/google-coral/test_data/raw/master/deeplabv3_mnv2_pascal_quant.tflite
    python benchmarks/weights_from_tflite.py deeplabv3_mnv2_pascal_quant.tflite deeplabv3_mnv2.safetensors

Weights become floating-point numbers. The file's convolutions include their batch normalization, so the network's batch
normalization only adds their biases.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vocseg import voc
from vocseg.bench.tflite import TfliteNetwork
from vocseg.models import create_model, save_model

BLOCKS = 17
PYRAMID = ("image_pooling", "aspp0", "concat_projection", "logits/semantic")


def layers() -> Iterator[str]:
    """List TensorFlow's names of the convolutions in the order of the network's."""
    yield "MobilenetV2/Conv"
    for block in range(BLOCKS):
        name = "MobilenetV2/expanded_conv" + f"_{block}" * (block > 0)
        yield from (f"{name}/{part}" for part in ("expand", "depthwise", "project") if block or part != "expand")
    yield from PYRAMID


def constants(file: Path) -> Iterator[tuple[Tensor, Tensor]]:
    """Read weights (outputs, inputs, height, width) and biases of each convolution, float32."""
    interpreter = TfliteNetwork(file).network
    details = interpreter.get_tensor_details()
    for layer in layers():
        # A name lists the fused layers, its own first.
        own = [entry for entry in details if entry["name"].startswith(f"{layer}/")]
        weights = next(entry for entry in own if "weights_quant" in entry["name"])
        biases = next(entry for entry in own if entry["dtype"].__name__ == "int32")
        values = _floating(interpreter, weights)
        depthwise = layer.endswith("depthwise")
        yield values.permute(*((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))), _floating(interpreter, biases)


def _floating(interpreter: Any, entry: dict[str, Any]) -> Tensor:
    scale, zero = entry["quantization"]
    return (torch.from_numpy(interpreter.get_tensor(entry["index"])).double() - zero).mul(scale).float()


@torch.no_grad()
def fill(network: nn.Module, values: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Set the weights of the network's convolutions, and their biases in the batch normalization after them."""
    parts = [part for part in network.modules() if isinstance(part, (nn.Conv2d, nn.BatchNorm2d))]
    convolutions = [number for number, part in enumerate(parts) if isinstance(part, nn.Conv2d)]
    for number, (weights, biases) in zip(convolutions, values, strict=True):
        convolution, follower = parts[number], parts[number + 1] if number + 1 < len(parts) else None
        convolution.weight.copy_(weights)
        if isinstance(follower, nn.BatchNorm2d):
            follower.reset_running_stats()
            follower.running_var.sub_(follower.eps)  # type: ignore[union-attr,operator]
            follower.weight.fill_(1)
            follower.bias.copy_(biases)
        else:
            convolution.bias.copy_(biases)  # type: ignore[union-attr]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    model = create_model("deeplabv3_mobilenet_v2", voc.CLASSES)
    fill(model.network, list(constants(arguments.network)))
    save_model(arguments.out, model, replace(model.info, trained_on="COCO and VOC trainaug, by TensorFlow"))
    print(arguments.out)


if __name__ == "__main__":
    main()
