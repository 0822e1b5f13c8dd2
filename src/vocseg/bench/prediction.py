"""Segment one image with vocseg, and with the engines and libraries that people use instead.

Every case goes from the uint8 image to its mask; all except TensorFlow Lite's start from the same network.
"""

from __future__ import annotations

import copy
import importlib.util
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vocseg.bench.harness import Case, Runner
from vocseg.bench.tflite import TfliteNetwork
from vocseg.data.image_io import read_image
from vocseg.data.samples import photographs
from vocseg.data.transforms.geometry import resize_image
from vocseg.errors import ModelError, nearest
from vocseg.inference.engines import EngineName, compile_graph, onnx_session, require_compiler
from vocseg.inference.segmenter import Segmenter
from vocseg.models import SegmentationModel, create_model
from vocseg.ops.low_res_logits import LowResLogits
from vocseg.utils.system import find_device, find_precision
from vocseg.utils.telemetry import import_openvino, unreported

PEERS = ("torchvision", "openvino", "onnxruntime", "compile", "tflite:FILE.tflite")
PRECISIONS = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
NEEDED = {
    "openvino": ("openvino",),
    "onnxruntime": ("onnx", "onnxscript", "onnxruntime"),
    "tflite": ("ai_edge_litert",),
}
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
    best = PRECISIONS[find_precision(precision, find_device(task.device))]
    others = [case for peer in dict.fromkeys(peers) for case in _peer(peer, task)]
    ours = [best]
    if precision == "auto":
        ours += [name for name in PRECISIONS.values() if name != best and name in {other.precision for other in others}]
    return [Case("vocseg", name, partial(_ours, task, name, engine)) for name in ours] + others


def _peer(peer: str, task: Task) -> Iterator[Case]:
    name, _, file = peer.partition(":")
    known = [known.partition(":")[0] for known in PEERS]
    if name not in known or bool(file) != (name == "tflite"):
        raise ModelError(f"unknown peer '{peer}'{nearest(name, known) or ''}: there are {', '.join(PEERS)}")
    missing = [package for package in NEEDED.get(name, ()) if importlib.util.find_spec(package) is None]
    if missing:
        raise ModelError(f"{missing[0]} is not installed; pip install {' '.join(NEEDED[name])}".replace("_", "-"))
    if name == "torchvision":
        yield Case(name, "float32", partial(_plain, task))
    elif name == "onnxruntime":
        yield Case(name, "float32", partial(_onnxruntime, task))
    elif name == "tflite":
        kind = TfliteNetwork(file, 1).dtype.name
        yield Case(name, kind, partial(_tflite, file, task))
    else:
        if name == "compile":
            require_compiler()
        make = _openvino if name == "openvino" else _compiled
        for precision in PRECISIONS.values():
            yield Case(name, precision, partial(make, task, precision))


def _ours(task: Task, precision: str, engine: EngineName) -> Runner:
    segmenter = Segmenter(task.build(), device=task.device, precision=precision, engine=engine)
    image = task.image()
    return lambda: segmenter.low_res_logits(image[None], total=MANY).classes()[0].cpu()


def _plain(task: Task) -> Runner:
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

    @torch.inference_mode()
    def segment() -> Tensor:
        return network(image.to(device)).argmax(1)[0].to(torch.uint8).cpu()

    return segment


def _openvino(task: Task, precision: str) -> Runner:
    openvino = import_openvino()
    example = torch.zeros(1, 3, *task.size)
    with warnings.catch_warnings(), unreported():
        warnings.simplefilter("ignore")  # its converter traces with torch.jit
        graph = openvino.convert_model(_MainOutput(task.build()), example_input=example, input=[example.shape])
    compiled = compile_graph(graph, getattr(torch, precision))
    image = task.image()[None]
    return lambda: _classes(compiled(image.float().numpy()))


def _onnxruntime(task: Task) -> Runner:
    example = torch.zeros(1, 3, *task.size)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "model.onnx"
        network = _MainOutput(task.build())
        torch.onnx.export(network, (example,), path, dynamo=True, external_data=False, verbose=False, input_names=["images"])
        session = onnx_session(path)
    image = task.image()[None]
    return lambda: _classes(session.run(None, {"images": image.float().numpy()})[0])


def _tflite(file: str, task: Task) -> Runner:
    network, image = TfliteNetwork(file), task.image()
    return lambda: network(image)


def _classes(logits: Any) -> Tensor:
    return LowResLogits(torch.from_numpy(logits)).classes()[0]
