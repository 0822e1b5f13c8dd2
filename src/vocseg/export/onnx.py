"""ONNX files: one graph from uint8 images to masks."""

from __future__ import annotations

import copy
import importlib.util
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vocseg.errors import ModelError
from vocseg.export.pre_post import IMAGES, INNER, INNER_MASKS, add_pre_post
from vocseg.inference.engines import onnx_session
from vocseg.inference.optimize import for_inference
from vocseg.models import ModelInfo, SegmentationModel
from vocseg.models.base import Padding

Masker = Callable[[Tensor], Tensor]
"""Takes uint8 RGB images (N x 3 x H x W), returns masks (uint8 class ids, N x H x W)."""

INFO = "vocseg"
"""Key of the model's info, as JSON, in the metadata of an exported file."""
EXAMPLE_SIDES = (5, 6)
"""Height and width of the images that a graph for any size is traced with, in multiples of the padding."""


class Classes(nn.Module):
    """Maps normalized, padded images to the class of the largest logit of each pixel: uint8, N x H x W."""

    def __init__(self, model: SegmentationModel) -> None:
        super().__init__()
        self.model = for_inference(model)
        _fix_same_padding(model)

    def forward(self, images: Tensor) -> Tensor:
        values = self.model.layers(images)["out"]
        logits = self.model.upsample_to_padded(values, (images.shape[2], images.shape[3])).interpolated()
        return logits.argmax(1).to(torch.uint8)


def _fix_same_padding(model: SegmentationModel) -> None:
    """Fix the padding of timm's convolutions with TensorFlow's "same" padding, in place, if images are padded.

    The padding of a side that is a multiple of the stride does not depend on the side. Torch takes minutes to trace it
    as if it did.
    """
    from timm.layers.conv2d_same import Conv2dSame

    network = model.network
    if model.padding.multiple == 1:
        return
    for name, conv in list(network.named_modules()):
        if isinstance(conv, Conv2dSame):
            reach = [(kernel - 1) * dilation + 1 for kernel, dilation in zip(conv.kernel_size, conv.dilation, strict=True)]
            down, across = (max(0, length - stride) for length, stride in zip(reach, conv.stride, strict=True))
            fixed = nn.Conv2d(
                conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride,  # type: ignore[arg-type]
                dilation=conv.dilation, groups=conv.groups, bias=conv.bias is not None,  # type: ignore[arg-type]
            )  # fmt: skip
            fixed.weight, fixed.bias = conv.weight, conv.bias
            pads = (across // 2, across - across // 2, down // 2, down - down // 2)
            network.set_submodule(name, nn.Sequential(nn.ZeroPad2d(pads), fixed))


def require(*packages: str) -> None:
    """Raise ModelError for the first package that is not installed."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise ModelError(f"{package} is not installed; pip install 'vocseg[export]'")


def write_onnx(model: SegmentationModel, path: Path, size: tuple[int, int] | None = None) -> None:
    """Write a model to an ONNX file that takes batches of images of one ``size``, or of any size if it is None.

    Raises ModelError if onnx is missing or the network cannot be traced.
    """
    require("onnx", "onnxscript")
    import onnx

    network = Classes(copy.deepcopy(model)).eval()
    padding = model.padding
    example, dynamic = _any_size(padding) if size is None else _one_size(padding, size)
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network, (example,), dynamo=True, verbose=False, input_names=[INNER], output_names=[INNER_MASKS],
                dynamic_shapes=({0: torch.export.Dim("N", min=1)} | dynamic,),
            )  # fmt: skip
    except Exception as error:
        hint = " for images of any size; give a size" if size is None else ""
        cause = str(error).strip().splitlines()[0]
        raise ModelError(f"{model.info.architecture} cannot be exported{hint}: {cause}") from error
    assert program is not None
    written = program.model_proto
    add_pre_post(written.graph, model.mean, model.std, padding, size)
    written.metadata_props.append(onnx.StringStringEntryProto(key=INFO, value=model.info.to_json()))
    onnx.checker.check_model(written)
    onnx.save_model(written, path)


def _any_size(padding: Padding) -> tuple[Tensor, dict[int, Any]]:
    """Return images to trace with, and torch's description of their dynamic sides: multiples of the padding."""
    if padding.multiple == 1:
        return torch.zeros(2, 3, *(32 * count for count in EXAMPLE_SIDES)), dict.fromkeys((2, 3), torch.export.Dim.DYNAMIC)
    least = -(-padding.smallest // padding.multiple)
    sides = [padding.multiple * (least + count) + padding.extra for count in EXAMPLE_SIDES]
    dynamic = [padding.multiple * torch.export.Dim(name, min=max(1, least)) + padding.extra for name in ("h", "w")]
    return torch.zeros(2, 3, *sides), dict(zip((2, 3), dynamic, strict=True))


def _one_size(padding: Padding, size: tuple[int, int]) -> tuple[Tensor, dict[int, Any]]:
    return torch.zeros(2, 3, *(padding.side(side) for side in size)), {}


def read_onnx(path: Path) -> tuple[Masker, ModelInfo]:
    """Load an exported file in ONNX Runtime: a function from images to masks, and the description of its model.

    Raises ModelError if ``path`` is not a file that vocseg exported.
    """
    require("onnxruntime")
    try:
        session = onnx_session(path)
        info = ModelInfo.from_json(session.get_modelmeta().custom_metadata_map[INFO], path)
    except ModelError:
        raise
    except KeyError:
        raise ModelError(f"{path} is not an ONNX file exported by vocseg") from None
    except Exception as error:  # ONNX Runtime has many of its own
        raise ModelError(f"cannot read ONNX file {path}: {str(error).splitlines()[0]}") from error
    return lambda images: torch.from_numpy(session.run(None, {IMAGES: images.contiguous().numpy()})[0]), info
