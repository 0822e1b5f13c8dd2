"""What runs a network's layers: torch itself, its compiler, OpenVINO or ONNX Runtime.

Each engine takes layers in eval mode with batch normalization folded, and gives a function from normalized images (float32,
N x 3 x H x W, any size) to the values of the main output. Several threads may call that function at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from vocseg.errors import ModelError
from vocseg.models import SegmentationModel
from vocseg.ops.choices import cache_folder, choices, machine_key, race
from vocseg.ops.conv_cpu import Geometry, fast_convolutions, taps_for_tracing, traced_convolutions
from vocseg.utils.telemetry import import_onnxruntime, import_openvino, unreported

EngineName = Literal["auto", "torch", "compile", "openvino", "onnxruntime"]
Run = Callable[[Tensor], Tensor]
Array = np.ndarray[Any, Any]

PREPARING = threading.RLock()
"""Held while layers are converted: in place, and by tracers and compilers that keep state for the whole process."""

CACHE_BYTES = 2 << 30
"""Size of the cache of converted networks above which the oldest go."""

TAPS_FROM = 6
"""Least dilation at which another engine's convolution is measured against the sum over taps."""


class Layers(nn.Module):
    """Those layers of a model that its main output needs."""

    def __init__(self, model: SegmentationModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model.layers(images)["out"]


def has_openvino() -> bool:
    """Whether OpenVINO is installed."""
    return importlib.util.find_spec("openvino") is not None


def torch_engine(layers: nn.Module, precision: torch.dtype) -> Run:
    """Eager torch; ``layers`` are converted in place."""
    layers.to(dtype=precision, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(images: Tensor) -> Tensor:
        with fast_convolutions():
            return layers(images.to(precision, memory_format=torch.channels_last))

    return run


def require_compiler() -> None:
    """Raise ModelError where the machine has no C++ compiler, which ``torch.compile`` calls."""
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "c++"), "g++", "clang++")):
        raise ModelError("torch.compile needs a C++ compiler (g++ or clang++)")


def compile_engine(layers: nn.Module, precision: torch.dtype) -> Run:
    """``torch.compile`` for images of any size; ModelError where the machine has no C++ compiler."""
    require_compiler()
    layers.to(dtype=precision, memory_format=torch.channels_last)  # type: ignore[call-overload]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(layers, dynamic=True)

    def run(images: Tensor) -> Tensor:
        # Any call may compile for another kind of size. Threads that did so side by side would use up the compilations that torch
        # allows, and in older versions of it a call fails while another thread compiles.
        with PREPARING:
            return compiled(images.to(precision, memory_format=torch.channels_last))

    return run


def openvino_engine(layers: nn.Module, precision: torch.dtype, example: Tensor, keep: bool) -> Run:
    """OpenVINO for images of any size; those too small for its graph run in torch.

    ``example`` are images of a usual size. With ``keep`` the converted network is kept on disk and found there the next
    time. Raises ModelError where OpenVINO is missing.
    """
    if not has_openvino():
        raise ModelError("openvino is not installed; pip install openvino")
    path = kept_path(layers) if keep else None
    if path is not None and path.exists():
        graph = import_openvino().Core().read_model(path)
        os.utime(path)
    else:
        graph = _convert(layers, precision, example)
        if path is not None:
            _keep(graph, path)
    smallest = int(graph.get_rt_info(SMALLEST).value)
    compiled = compile_graph(graph, precision)
    in_torch: list[Run] = []

    def run(images: Tensor) -> Tensor:
        if min(images.shape[2:]) < smallest:
            with PREPARING:
                if not in_torch:
                    in_torch.append(torch_engine(layers, precision))
            return in_torch[0](images)
        return torch.from_numpy(compiled(images.contiguous().numpy()))

    return run


SMALLEST = ["vocseg", "smallest side"]
"""Where a converted network says how small an image may be."""


def _convert(layers: nn.Module, precision: torch.dtype, example: Tensor) -> Any:
    """The network as an OpenVINO graph, its widely dilated convolutions in whichever form OpenVINO runs faster."""
    dilated: list[tuple[tuple[int, ...], Tensor, Geometry]] = []

    def note(inputs: Tensor, weight: Tensor, geometry: Geometry) -> bool:
        if TAPS_FROM <= max(geometry.dilation) < min(inputs.shape[2:]):
            dilated.append((tuple(inputs.shape), weight, geometry))
        return False

    with torch.inference_mode(), traced_convolutions(note):
        layers(example)
    # The weights are the network's parameters, so that they can be told apart by identity.
    chosen = {id(weight): shape for shape, weight, geometry in dilated if _taps_are_faster(shape, weight, geometry, precision)}
    with traced_convolutions(lambda inputs, weight, geometry: id(weight) in chosen):
        graph = _graph(layers, example)
    reach = [
        (max(geometry.dilation) + 2) * -(-min(example.shape[2:]) // min(shape[2:]))
        for shape, weight, geometry in dilated
        if id(weight) in chosen
    ]
    graph.set_rt_info(str(max(reach, default=1)), SMALLEST)
    return graph


def _graph(module: nn.Module, example: Tensor) -> Any:
    openvino = import_openvino()
    with torch.inference_mode(), warnings.catch_warnings(), unreported():
        warnings.simplefilter("ignore")  # torch announces a successor of this tracer, and warns of sizes
        traced: Any = torch.jit.trace(module.eval(), example, check_trace=False, strict=False)  # type: ignore[no-untyped-call]
        return openvino.convert_model(torch.jit.freeze(traced), input=[openvino.PartialShape([-1, example.shape[1], -1, -1])])


def compile_graph(graph: Any, precision: torch.dtype | None) -> Callable[[Array], Array]:
    """Make an OpenVINO graph of one input and one output a function that runs it on the processor, from any number of threads.

    Without a precision it runs in the one that OpenVINO takes by itself.
    """
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    if precision is not None:
        settings["INFERENCE_PRECISION_HINT"] = {torch.float32: "f32", torch.bfloat16: "bf16"}[precision]
    compiled = import_openvino().compile_model(graph, "CPU", settings)
    idle: list[Any] = []

    def run(inputs: Array) -> Array:
        # The compiled network called as a function has one request, and threads would write over each other's images in it.
        # Requests outlive threads, of which a server may start one for each image.
        try:
            request = idle.pop()
        except IndexError:
            request = compiled.create_infer_request()
        output: Array = request.infer(inputs, share_inputs=True)[0]  # a copy
        idle.append(request)
        return output

    return run


class _Convolution(nn.Module):
    """One convolution, in one of two forms."""

    def __init__(self, way: str, weight: Tensor, geometry: Geometry) -> None:
        super().__init__()
        self.way, self.weight, self.geometry = way, nn.Parameter(weight.detach().clone(), False), geometry

    def forward(self, inputs: Tensor) -> Tensor:
        if self.way == "taps":
            return taps_for_tracing(inputs, self.weight, None, self.geometry)
        return torch.conv2d(inputs, self.weight, None, *self.geometry)


def _taps_are_faster(shape: tuple[int, ...], weight: Tensor, geometry: Geometry, precision: torch.dtype) -> bool:
    def measure() -> dict[str, float]:
        example = torch.zeros(shape)
        graphs = {way: compile_graph(_graph(_Convolution(way, weight, geometry), example), precision) for way in ways}
        return race({way: partial(graph, example.numpy()) for way, graph in graphs.items()}, 3)

    ways = ["native", "taps"]
    sizes = ["x".join(map(str, part)) for part in (shape, weight.shape)]
    key = ", ".join(["openvino", str(precision), *sizes, f"dilation {geometry.dilation}"])
    return choices.find(key, ways, measure) == "taps"


def kept_path(layers: nn.Module) -> Path:
    """Where a network converted on this machine is kept, by its structure and weights."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in layers.state_dict().items():
        digest.update(name.encode())
        digest.update(value.contiguous().view(-1).view(torch.uint8).numpy().data)
    return _kept_folder() / f"{structure(layers)}-{digest.hexdigest()}.xml"


def is_kept(layers: nn.Module) -> bool:
    """Whether a network converted on this machine is kept; quick where none of its structure is."""
    return any(_kept_folder().glob(f"{structure(layers)}-*.xml")) and kept_path(layers).exists()


def _kept_folder() -> Path:
    return cache_folder() / f"openvino-{version('openvino')}-{machine_key()}"


def structure(layers: nn.Module) -> str:
    """A digest of a network's layers, without their weights."""
    return hashlib.blake2b(str(layers).encode(), digest_size=8).hexdigest()


def _keep(graph: Any, path: Path) -> None:
    """Write a converted network where the next process will find it; a cache that cannot be written is done without."""
    with contextlib.suppress(OSError, RuntimeError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            written = Path(folder) / path.name
            import_openvino().save_model(graph, written, compress_to_fp16=False)
            # The description last: it is what is looked for.
            os.replace(written.with_suffix(".bin"), path.with_suffix(".bin"))
            os.replace(written, path)
        kept = sorted(path.parent.glob("*.bin"), key=lambda file: file.with_suffix(".xml").stat().st_mtime, reverse=True)
        total = 0
        for file in kept:
            total += file.stat().st_size
            if total > CACHE_BYTES and file.stem != path.stem:
                file.with_suffix(".xml").unlink()
                file.unlink()


def onnx_session(path: Path) -> Any:
    """An ONNX file ready to run on the processor, by ONNX Runtime."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def onnxruntime_engine(layers: nn.Module, example: Tensor) -> Run:
    """ONNX Runtime in float32, for images of any size. Raises ModelError where it is missing."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(f"{missing[0]} is not installed; pip install onnx onnxscript onnxruntime")
    sides = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "layers.onnx"
        torch.onnx.export(
            layers.eval(), (example,), path, dynamo=True, external_data=False, verbose=False,
            input_names=["images"], dynamic_shapes=(sides,),
        )  # fmt: skip
        session = onnx_session(path)
    return lambda images: torch.from_numpy(session.run(None, {"images": images.contiguous().numpy()})[0])
