"""OpenVINO networks: NAME.xml with NAME.bin beside it."""

from __future__ import annotations

from pathlib import Path

import torch

from vocseg.errors import ModelError
from vocseg.export.onnx import INFO, Masker, require
from vocseg.inference.engines import compile_graph
from vocseg.models import ModelInfo
from vocseg.utils.telemetry import import_openvino, unreported


def write_openvino(onnx_file: Path, path: Path, info: ModelInfo) -> None:
    """Convert an exported ONNX file to an OpenVINO network ``path`` (.xml), with float32 weights in the .bin."""
    require("openvino")
    openvino = import_openvino()
    with unreported():
        graph = openvino.convert_model(onnx_file)
    graph.set_rt_info(info.to_json(), [INFO])
    openvino.save_model(graph, path, compress_to_fp16=False)


def read_openvino(path: Path, exact: bool = False) -> tuple[Masker, ModelInfo]:
    """Load an exported network: a function from images to masks, and the description of its model.

    With ``exact`` it computes in float32, otherwise in the precision that OpenVINO chooses. Raises ModelError if
    ``path`` is not a network that vocseg exported.
    """
    require("openvino")
    try:
        graph = import_openvino().Core().read_model(path)
        if not graph.has_rt_info([INFO]):
            raise ModelError(f"{path} is not an OpenVINO network exported by vocseg")
        info = ModelInfo.from_json(graph.get_rt_info([INFO]).astype(str), path)
        compiled = compile_graph(graph, torch.float32 if exact else None)
    except RuntimeError as error:
        raise ModelError(f"cannot read OpenVINO network {path}: {str(error).splitlines()[0]}") from error
    return lambda images: torch.from_numpy(compiled(images.contiguous().numpy())), info
