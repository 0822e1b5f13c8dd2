"""Convert the 8-bit DeepLabV3 that TensorFlow publishes for phones to a model file of `deeplabv3_mobilenet_v2`.

    pip install ai-edge-litert
    curl -LO https://github.com/google-coral/test_data/raw/master/deeplabv3_mnv2_pascal_quant.tflite
    python benchmarks/weights_from_tflite.py deeplabv3_mnv2_pascal_quant.tflite deeplabv3_mnv2.safetensors --photographs data

Weights become floating-point numbers. The file's convolutions include their batch normalization, so the network's batch
normalization only adds their biases. With --photographs, a folder of 64 or more, it is given their mean and variance
instead, such that the network computes the same and can be trained with batch normalization.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vocseg import voc
from vocseg.bench.tflite import TfliteNetwork
from vocseg.data.image_io import read_image
from vocseg.data.layout import IMAGE_SUFFIXES
from vocseg.models import SegmentationModel, create_model, save_model

BLOCKS = 17
PHOTOGRAPHS = 96
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


@torch.no_grad()
def measure_norms(model: SegmentationModel, photographs: Iterable[Path]) -> None:
    """Give each batch normalization the mean and variance of its inputs, without a change of what it computes."""
    norms = [part for part in model.network.modules() if isinstance(part, nn.BatchNorm2d)]
    sums = {norm: torch.zeros(3, norm.num_features, dtype=torch.float64) for norm in norms}

    def measure(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        values = inputs[0].double()
        sums[norm] += torch.stack([torch.ones_like(values).sum((0, 2, 3)), values.sum((0, 2, 3)), values.square().sum((0, 2, 3))])

    handles = [norm.register_forward_pre_hook(measure) for norm in norms]
    for path in photographs:
        model(read_image(path)[None])
    for handle in handles:
        handle.remove()
    for norm, (number, total, squares) in sums.items():
        mean = total / number
        variance = (squares / number - mean.square()).clamp(min=0)
        factor = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()  # type: ignore[operator,union-attr]
        norm.bias.add_(factor * (mean - norm.running_mean))  # type: ignore[operator]
        norm.weight.copy_(factor * (variance + norm.eps).sqrt())
        norm.running_mean.copy_(mean)  # type: ignore[operator,union-attr]
        norm.running_var.copy_(variance)  # type: ignore[operator,union-attr]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photographs", type=Path, metavar="FOLDER", help="with images that set the batch normalization")
    arguments = parser.parse_args()
    model = create_model("deeplabv3_mobilenet_v2", voc.CLASSES).eval()
    fill(model.network, list(constants(arguments.network)))
    if arguments.photographs:
        found = [path for path in sorted(arguments.photographs.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES]
        step = max(1, len(found) // PHOTOGRAPHS)
        measure_norms(model, found[::step][:PHOTOGRAPHS])
    save_model(arguments.out, model, replace(model.info, trained_on="COCO and VOC trainaug, by TensorFlow"))
    print(arguments.out)


if __name__ == "__main__":
    main()
