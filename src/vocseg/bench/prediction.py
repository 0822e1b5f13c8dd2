"""Segment one image with vocseg, and with the engines and libraries that people use instead.

Every case goes from the uint8 image to its mask; all except TensorFlow Lite's start from the same network.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vocseg.bench.harness import Case, Runner, beside_ours
from vocseg.bench.tflite import TfliteNetwork
from vocseg.data.image_io import read_image
from vocseg.data.samples import photographs
from vocseg.data.transforms.geometry import resize_image
from vocseg.errors import ModelError, nearest
from vocseg.inference.engines import EngineName, compile_graph, require_compiler, to_onnx_session
from vocseg.inference.options import require_packages
from vocseg.inference.segmenter import Segmenter
from vocseg.models import SegmentationModel, create_model
from vocseg.ops.low_res_logits import LowResLogits
from vocseg.utils.system import find_device
from vocseg.utils.telemetry import import_openvino, unreported

MANY = 1449
"""Images for which our engine ``auto`` is chosen: VOC's val split."""


class Task(NamedTuple):
    """Which model segments an image of which size (height, width), on which device."""

    model: str
    weights: str | None
    size: tuple[int, int]
    device: str = "auto"

    def build(self) -> SegmentationModel:
        """Build the model, with random weights if it has none; do not change it, it is cached."""
        return _build(self.model, self.weights)

    def image(self) -> Tensor:
        """Return a sample photograph resized to the size: uint8 RGB, 3 x H x W."""
        photograph = photographs()
        return resize_image(read_image(photograph.folder.image(photograph.names[0])), self.size)


@lru_cache(maxsize=1)
def _build(model: str, weights: str | None) -> SegmentationModel:
    torch.manual_seed(0)
    built = create_model(model, weights=weights).eval()
    built.info = replace(built.info, short_side=None)
    return built


def cases(task: Task, peers: Sequence[str], precision: str = "auto", engine: EngineName = "auto") -> list[Case]:
    """Return our case and then the peers'; with precision ``auto``, ours also in the other precision if a peer has it.

    Raises ModelError for a peer that is unknown or not installed.
    """
    others = [case for peer in dict.fromkeys(peers) for case in _peer(peer, task)]
    return beside_ours(partial(_ours, task, engine), precision, task.device, others)


def _peer(peer: str, task: Task) -> list[Case]:
    name, _, file = peer.partition(":")
    if name == "tflite" and file:
        return [Case(name, TfliteNetwork(file, 1).dtype.name, partial(_tflite, file, task))]
    if name not in PEERS or file:
        known = f"{', '.join(PEERS)}, tflite:FILE.tflite"
        raise ModelError(f"unknown peer '{peer}'{nearest(name, [*PEERS, 'tflite'])}: there are {known}")
    make, precisions, packages = PEERS[name]
    require_packages(*packages)
    if name == "compile":
        require_compiler()
    return [Case(name, precision, partial(make, task, precision)) for precision in precisions]


def _ours(task: Task, engine: EngineName, precision: str) -> Runner:
    segmenter = Segmenter(task.build(), device=task.device, precision=precision, engine=engine, max_short_side=0)
    image = task.image()
    return lambda: segmenter.low_res_logits(image[None], total=MANY).classes()[0].cpu()


def _plain(task: Task, _precision: str) -> Runner:
    """As everyone runs it: eval mode, float32, arg max of what the network returns."""
    return _masks(task, _MainOutput(task.build()).to(find_device(task.device)))


def _compiled(task: Task, precision: str) -> Runner:
    """``torch.compile`` of the same for this one size, with the weights as constants."""
    network = _MainOutput(task.build(), getattr(torch, precision)).to(find_device(task.device))
    return _masks(task, torch.compile(network, options={"freezing": True}))


class _MainOutput(nn.Module):
    """A copy of the whole plain model, with its main output only."""

    def __init__(self, model: SegmentationModel, precision: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.model.network.to(precision)
        self.precision = precision
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        inputs = self.model.pad(self.model.normalize(images)).to(self.precision)
        outputs = self.model.network(inputs)
        if isinstance(outputs, dict):
            return outputs["out"]
        return self.model.upsample(outputs, images.shape[2], images.shape[3]).interpolated()


def _masks(task: Task, network: Callable[[Tensor], Tensor]) -> Runner:
    image, device = task.image()[None], find_device(task.device)
    segment: Runner = torch.inference_mode()(lambda: network(image.to(device)).argmax(1)[0].to(torch.uint8).cpu())
    return segment


def _openvino(task: Task, precision: str) -> Runner:
    openvino = import_openvino()
    example = torch.zeros(1, 3, *task.size)
    with warnings.catch_warnings(), unreported():
        warnings.simplefilter("ignore")  # its converter traces with torch.jit
        graph = openvino.convert_model(_MainOutput(task.build()), example_input=example, input=[example.shape])
    return _classes(task, compile_graph(graph, getattr(torch, precision)))


def _onnxruntime(task: Task, _precision: str) -> Runner:
    return _classes(task, to_onnx_session(_MainOutput(task.build()), torch.zeros(1, 3, *task.size), any_size=False))


def _classes(task: Task, run: Callable[[Any], Any]) -> Runner:
    image = task.image()[None]
    return lambda: LowResLogits(torch.from_numpy(run(image.float().numpy()))).classes()[0]


def _tflite(file: str, task: Task) -> Runner:
    return partial(TfliteNetwork(file), task.image())


PEERS: dict[str, tuple[Callable[[Task, str], Runner], tuple[str, ...], tuple[str, ...]]] = {
    "torchvision": (_plain, ("float32",), ()),
    "openvino": (_openvino, ("float32", "bfloat16"), ("openvino",)),
    "onnxruntime": (_onnxruntime, ("float32",), ("onnx", "onnxscript", "onnxruntime")),
    "compile": (_compiled, ("float32", "bfloat16"), ()),
}
"""What prepares a peer in a precision, its precisions, and the packages it needs."""
