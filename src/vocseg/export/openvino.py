"""A model as an OpenVINO network: NAME.xml and NAME.bin."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from vocseg.errors import ModelError
from vocseg.export.onnx import INFO, Masker, require
from vocseg.inference.engines import compile_graph
from vocseg.models import ModelInfo
from vocseg.utils.telemetry import import_openvino, unreported


def write_openvino(onnx_file: Path, path: Path, info: ModelInfo) -> None:
    """Write an exported ONNX file as OpenVINO's ``path`` (.xml) and the .bin beside it, weights as they are."""
    require("openvino")
    openvino = import_openvino()
    with unreported():
        graph = openvino.convert_model(onnx_file)
    graph.set_rt_info(json.dumps(info.to_dict()), [INFO])
    openvino.save_model(graph, path, compress_to_fp16=False)


def read_openvino(path: Path, exact: bool = False) -> tuple[Masker, ModelInfo]:
    """What an exported network does, run by OpenVINO, and the model that it was made of.

    With ``exact`` in float32, otherwise in whatever precision OpenVINO takes by itself. Raises ModelError where it is none.
    """
    require("openvino")
    try:
        graph = import_openvino().Core().read_model(path)
        if not graph.has_rt_info([INFO]):
            raise ModelError(f"{path} is no OpenVINO network that vocseg exported")
        info = ModelInfo.from_dict(json.loads(graph.get_rt_info([INFO]).astype(str)))
        compiled = compile_graph(graph, torch.float32 if exact else None)
    except RuntimeError as error:
        raise ModelError(f"cannot read OpenVINO network {path}: {str(error).splitlines()[0]}") from error
    return lambda images: torch.from_numpy(compiled(images.contiguous().numpy())), info
