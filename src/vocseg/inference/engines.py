"""What runs a network's layers: torch, its compiler, OpenVINO or ONNX Runtime.

An engine takes layers in eval mode with batch normalization folded, and returns a function from normalized, padded
images (float32, N x 3 x H x W, any size) to the values of the main output (float32 or the engine's precision, N x
classes x h x w). Several threads may call that function at the same time; with torch and OpenVINO, a call computes in as many
threads as torch has in the thread that calls.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from vocseg.errors import ModelError
from vocseg.inference.options import PACKAGES, require_packages
from vocseg.inference.recording import RECORD, record
from vocseg.utils.system import cores
from vocseg.utils.telemetry import import_onnxruntime, import_openvino, unreported

EngineName = Literal["auto", "torch", "compile", "openvino", "onnxruntime"]
Run = Callable[[Tensor], Tensor]
Array = np.ndarray[Any, Any]

TITLES = {"compile": "torch.compile", "openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}

MANY = 200
"""Number of images from which converting a network for OpenVINO, which takes seconds, pays off."""

AT_ONCE = 4
"""How many images a stream has in the network at the same time, at most: each takes memory."""

CONVERTING = threading.RLock()
"""Held while a network is converted: tracers and compilers keep state for the whole process."""
if hasattr(os, "register_at_fork"):  # a child must not wait for a thread that it does not have
    os.register_at_fork(after_in_child=CONVERTING._at_fork_reinit)  # type: ignore[attr-defined]

logger = logging.getLogger(__name__)


def choose_engine(name: EngineName, device: torch.device, images: int = 1) -> EngineName:
    """Return the engine that ``name`` means for a number of ``images``.

    ``auto`` is OpenVINO if it is installed, the device is a CPU, and there are at least ``MANY`` images, which pay for
    the conversion of the network; otherwise torch.

    >>> choose_engine("auto", torch.device("cpu"), 1)
    'torch'
    """
    if name != "auto":
        return name
    return "openvino" if device.type == "cpu" and images >= MANY and has_openvino() else "torch"


def make_engine(name: EngineName, layers: nn.Module, precision: torch.dtype, example: Tensor) -> Run:
    """Prepare an engine; ``example``: normalized, padded images of any size. ModelError if it is not installed.

    For torch and compile, ``layers`` have the precision already, for the others float32.
    """
    if name == "torch":
        return RecordingEngine(layers, precision, example) if example.device.type == "cpu" else torch_engine(layers, precision)
    logger.info("preparing the network for %s, which takes some seconds", TITLES[name])
    if name == "compile":
        return compile_engine(layers, precision)
    return openvino_engine(layers, precision, example) if name == "openvino" else onnxruntime_engine(layers, example)


def has_openvino() -> bool:
    """Tell whether OpenVINO is installed."""
    return importlib.util.find_spec("openvino") is not None


def require_compiler() -> None:
    """Raise ModelError if the machine has no C++ compiler, which ``torch.compile`` calls."""
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "c++"), "g++", "clang++")):
        raise ModelError("torch.compile needs a C++ compiler (g++ or clang++)")


def torch_engine(layers: Run, precision: torch.dtype) -> Run:
    """Run in eager torch; ``layers`` have the precision and, best, the channels-last layout."""
    return lambda images: layers(images.to(precision, memory_format=torch.channels_last))


class RecordingEngine:
    """Run as :func:`torch_engine`, and record the layers when so many images have come that it pays off."""

    def __init__(self, layers: nn.Module, precision: torch.dtype, example: Tensor) -> None:
        self._layers, self._precision, self._example = layers, precision, example
        self._run = torch_engine(layers, precision)
        self._seen, self._is_recorded = 0, False

    def __call__(self, images: Tensor) -> Tensor:
        self._seen += len(images)
        if self._seen > RECORD and not self._is_recorded:
            with CONVERTING:
                if not self._is_recorded:
                    sizes = (self._example, self._example.transpose(2, 3))
                    examples = [image.to(self._precision, memory_format=torch.channels_last) for image in sizes]
                    self._run = torch_engine(record(self._layers, examples), self._precision)
                    self._is_recorded = True
        return self._run(images)


def compile_engine(layers: nn.Module, precision: torch.dtype) -> Run:
    """Run in ``torch.compile``, as :func:`torch_engine`; it compiles at the first image."""
    require_compiler()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch_engine(torch.compile(layers, dynamic=True), precision)

    def run(images: Tensor) -> Tensor:
        # Any call may compile for another kind of size. Threads that did so side by side would use up the compilations
        # that torch allows, and in older versions of it a call fails while another thread compiles.
        with CONVERTING:
            return compiled(images)

    return run


def openvino_engine(layers: nn.Module, precision: torch.dtype, example: Tensor) -> Run:
    """Run in OpenVINO."""
    require_packages(*PACKAGES["openvino"])
    openvino = import_openvino()
    with torch.inference_mode(), warnings.catch_warnings(), unreported():
        warnings.simplefilter("ignore")  # torch announces a successor of this tracer, and warns of sizes
        traced: Any = torch.jit.trace(layers, example, check_trace=False, strict=False)  # type: ignore[no-untyped-call]
        graph = openvino.convert_model(torch.jit.freeze(traced), input=[openvino.PartialShape([-1, example.shape[1], -1, -1])])
    compiled: dict[int, Callable[[Array], Array]] = {}

    def run(images: Tensor) -> Tensor:
        threads = torch.get_num_threads()
        if threads not in compiled:
            with CONVERTING:
                if threads not in compiled:
                    compiled[threads] = compile_graph(graph, precision, max(1, min(AT_ONCE, cores() // threads)))
        return torch.from_numpy(compiled[threads](images.contiguous().numpy()))

    run(example)
    return run


def compile_graph(graph: Any, precision: torch.dtype | None, at_once: int = 1) -> Callable[[Array], Array]:
    """Return what runs an OpenVINO graph on the CPU, from any number of threads; None: OpenVINO chooses the precision.

    ``at_once``: how many calls compute at the same time, each in as many threads as torch has; others wait.
    """
    threads = {"NUM_STREAMS": at_once, "INFERENCE_NUM_THREADS": at_once * torch.get_num_threads()}
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", **threads}
    if precision is not None:
        settings["INFERENCE_PRECISION_HINT"] = {torch.float32: "f32", torch.bfloat16: "bf16"}[precision]
    compiled = import_openvino().compile_model(graph, "CPU", settings)
    idle: list[Any] = []

    def run(inputs: Array) -> Array:
        # The compiled network called as a function has one request, and threads would write over each other's images in
        # it. Requests outlive threads, of which a server may start one for each image.
        try:
            request = idle.pop()
        except IndexError:
            request = compiled.create_infer_request()
        output: Array = request.infer(inputs, share_inputs=True)[0]  # a copy
        idle.append(request)
        return output

    return run


def onnx_session(path: Path) -> Any:
    """Load an ONNX file into ONNX Runtime, to run on the CPU."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def to_onnx_session(network: nn.Module, example: Tensor, any_size: bool) -> Callable[[Array], Array]:
    """Convert a network to ONNX, for images of the ``example``'s size or any, and return what runs it."""
    require_packages(*PACKAGES["onnxruntime"])
    shapes = ({2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC},) if any_size else None
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "network.onnx"
        torch.onnx.export(
            network, (example,), path, dynamo=True, external_data=False, verbose=False, input_names=["images"],
            dynamic_shapes=shapes,
        )  # fmt: skip
        session = onnx_session(path)
    return lambda images: session.run(None, {"images": images})[0]


def onnxruntime_engine(layers: nn.Module, example: Tensor) -> Run:
    """Run in ONNX Runtime, in float32, one image at a time as its graph takes them."""
    run = to_onnx_session(layers, example, any_size=True)
    return lambda images: torch.from_numpy(np.concatenate([run(image[None].contiguous().numpy()) for image in images]))
