"""Latency of a model against others on the same picture, alternately, in one process."""

from __future__ import annotations

import copy
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vocseg.errors import ModelError
from vocseg.inference.segmenter import Segmenter
from vocseg.models import SegmentationModel
from vocseg.models.upsampling import CoarseLogits
from vocseg.progress import bar

Runner = Callable[[Tensor], Tensor]
"""From a picture (uint8 RGB, 3 x H x W) to its mask (uint8, H x W)."""

PEERS = ("torchvision", "openvino", "onnxruntime")


@dataclass(frozen=True)
class Timing:
    """Seconds of each round of one contestant, and the seconds it took to make it ready, first picture included."""

    name: str
    prepare: float
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, times in milliseconds."""
        ordered = sorted(self.seconds)
        p95 = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
        return {
            "name": self.name,
            "p50_ms": round(1000 * self.median, 2),
            "p95_ms": round(1000 * p95, 2),
            "pictures_per_second": round(1 / self.median, 2),
            "prepare_s": round(self.prepare, 2),
        }


def run(contestants: dict[str, Callable[[], Runner]], picture: Tensor, rounds: int) -> list[Timing]:
    """Prepare every contestant, then let each segment the picture once a round, in turn."""
    ready: dict[str, tuple[Runner, float]] = {}
    for name, make in contestants.items():
        start = time.perf_counter()
        runner = make()
        runner(picture)
        ready[name] = (runner, time.perf_counter() - start)
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    for _ in bar(range(rounds), desc="rounds", unit="round"):
        for name, (runner, _prepare) in ready.items():
            start = time.perf_counter()
            runner(picture)
            seconds[name].append(time.perf_counter() - start)
    return [Timing(name, prepare, tuple(seconds[name])) for name, (_, prepare) in ready.items()]


def contestants(model: SegmentationModel, peers: list[str], size: tuple[int, int], device: str, precision: str) -> dict[str, Any]:
    """Makers of our runner and of the peers': all start from the same weights and the same uint8 picture."""
    makers: dict[str, Callable[[], Runner]] = {"vocseg": lambda: _ours(model, device, precision)}
    for peer in peers:
        if peer == "torchvision":
            makers["torchvision float32"] = lambda: _plain(model, device)
        elif peer == "openvino":
            for hint in ("f32", "bf16"):
                makers[f"openvino {hint}"] = lambda hint=hint: _openvino(model, size, hint)  # type: ignore[misc]
        elif peer == "onnxruntime":
            makers["onnxruntime float32"] = lambda: _onnxruntime(model, size)
        else:
            raise ModelError(f"unknown peer '{peer}': there are {', '.join(PEERS)}")
    return makers


def _ours(model: SegmentationModel, device: str, precision: str) -> Runner:
    segmenter = Segmenter(model, device=device, precision=precision)
    return lambda picture: segmenter(picture).mask


def _plain(model: SegmentationModel, device: str) -> Runner:
    """As everyone runs it: eval mode, float32, arg-max of what the network returns."""
    plain = copy.deepcopy(model).eval().to(device if device != "auto" else "cpu")

    @torch.inference_mode()
    def segment(picture: Tensor) -> Tensor:
        return plain(picture[None].to(plain.mean.device))["out"].argmax(1)[0].to(torch.uint8).cpu()

    return segment


class _MainOutput(torch.nn.Module):
    """The whole plain model with its main output only, for exporters."""

    def __init__(self, model: SegmentationModel) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)
        self.eval()

    def forward(self, pictures: Tensor) -> Tensor:
        return self.model(pictures)["out"]


def _openvino(model: SegmentationModel, size: tuple[int, int], hint: str) -> Runner:
    try:
        import openvino
    except ImportError as error:
        raise ModelError("openvino is not installed; pip install openvino") from error
    example = torch.zeros(1, 3, *size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # its converter traces with torch.jit
        graph = openvino.convert_model(_MainOutput(model), example_input=example, input=[example.shape])
    settings = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = openvino.compile_model(graph, "CPU", settings)
    return lambda picture: _classes(compiled(picture[None].float().numpy())[0])


def _onnxruntime(model: SegmentationModel, size: tuple[int, int]) -> Runner:
    import tempfile
    from pathlib import Path

    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError("onnxruntime is not installed; pip install onnx onnxscript onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        torch.onnx.export(
            _MainOutput(model), (torch.zeros(1, 3, *size),), path, dynamo=True, external_data=False, verbose=False,
            input_names=["pictures"],
        )  # fmt: skip
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda picture: _classes(session.run(None, {"pictures": picture[None].float().numpy()})[0])


def _classes(logits: Any) -> Tensor:
    return CoarseLogits(torch.from_numpy(logits)).classes()[0]
