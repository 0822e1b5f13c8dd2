"""A model as an ONNX file: one graph from uint8 pictures to masks."""

from __future__ import annotations

import copy
import importlib.util
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from vocseg.errors import ModelError
from vocseg.inference.fast import for_inference
from vocseg.models import ModelInfo, SegmentationModel

Masker = Callable[[Tensor], Tensor]
"""From uint8 RGB pictures (N x 3 x H x W) to their masks (uint8 class ids, N x H x W)."""

PICTURES, MASKS = "pictures", "masks"
"""Names of a graph's input and output."""
INFO = "vocseg"
"""Key under which a file says what its model is: JSON of the model's info."""
EXAMPLE = (2, 3, 160, 192)
"""Shape of the pictures that a graph for any size is drawn from; of no meaning but that no two sides are alike."""


class MaskGraph(nn.Module):
    """All that is done to pictures: normalising, padding, the network, upsampling, the largest logit."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: SegmentationModel) -> None:
        super().__init__()
        self.network = for_inference(copy.deepcopy(model.network))
        self.register_buffer("mean", model.mean)
        self.register_buffer("std", model.std)

    def forward(self, pictures: Tensor) -> Tensor:
        logits: Tensor = self.network((pictures.float() - self.mean) / self.std)["out"]
        return logits.argmax(1).to(torch.uint8)


def require(*packages: str) -> None:
    """Raise ModelError for the first package that is not installed."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise ModelError(f"{package} is not installed; pip install 'vocseg[export]'")


def write_onnx(model: SegmentationModel, path: Path, size: tuple[int, int] | None = None) -> None:
    """Write a model to an ONNX file that takes batches of any number of pictures, of any ``size`` or of that one.

    Raises ModelError where onnx is missing or the network cannot be drawn as a graph.
    """
    require("onnx", "onnxscript")
    import onnx

    shape = EXAMPLE if size is None else (*EXAMPLE[:2], *size)
    free = {0: torch.export.Dim.DYNAMIC}
    if size is None:
        free |= {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                MaskGraph(model).eval(), (torch.zeros(shape, dtype=torch.uint8),), dynamo=True, verbose=False,
                input_names=[PICTURES], output_names=[MASKS], dynamic_shapes=(free,),
            )  # fmt: skip
    except Exception as error:
        hint = " for pictures of any size; give it a --size" if size is None else ""
        cause = str(error).strip().splitlines()[0]
        raise ModelError(f"{model.info.architecture} cannot be exported{hint}: {cause}") from error
    assert program is not None
    graph = program.model_proto
    graph.metadata_props.append(onnx.StringStringEntryProto(key=INFO, value=json.dumps(model.info.to_dict())))
    onnx.save_model(graph, path)


def read_onnx(path: Path) -> tuple[Masker, ModelInfo]:
    """What an exported file does, run by ONNX Runtime, and the model that it was made of; ModelError where it is none."""
    require("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        info = ModelInfo.from_dict(json.loads(session.get_modelmeta().custom_metadata_map[INFO]))
    except KeyError:
        raise ModelError(f"{path} is no ONNX file that vocseg exported") from None
    except Exception as error:  # onnxruntime's own are many
        raise ModelError(f"cannot read ONNX file {path}: {str(error).splitlines()[0]}") from error
    return lambda pictures: torch.from_numpy(session.run(None, {PICTURES: pictures.contiguous().numpy()})[0]), info
