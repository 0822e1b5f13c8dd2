"""Networks rewritten for inference: the same masks, faster.

What is done, in order: the auxiliary head goes; batch normalization is folded into the convolutions before it; weights take
the channels-last layout and, where that is faster, bfloat16; each convolution runs in the way measured to be the fastest
(:mod:`vocseg.ops.conv_cpu`); and the final upsampling is left to the caller, who may need its arg-max only.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from vocseg.bench.harness import PAUSE
from vocseg.inference.engines import (
    PREPARING,
    EngineName,
    Layers,
    Run,
    compile_engine,
    has_openvino,
    is_kept,
    onnxruntime_engine,
    openvino_engine,
    structure,
    torch_engine,
)
from vocseg.models import SegmentationModel
from vocseg.ops.choices import choices, race
from vocseg.ops.low_res_logits import LowResLogits

PROBE = 128
"""Side of the image that finds which layers follow each other: no network of the registry needs a larger one."""


class FastModel(nn.Module):
    """A model in eval mode rewritten for one device and precision; it keeps no gradient and shares no weights with its source.

    ``engine`` auto is torch until :meth:`expect` says that more pays. ``keep``: what is converted for another engine is kept
    on disk for the next process. ``consume`` rewrites the model itself, which is of no use afterwards. Raises ModelError where
    the engine is not to be had.
    """

    def __init__(
        self,
        model: SegmentationModel,
        precision: torch.dtype = torch.float32,
        engine: EngineName = "auto",
        keep: bool = False,
        consume: bool = False,
    ) -> None:
        super().__init__()
        self.info = model.info
        self.precision = precision
        self.engine: EngineName = engine
        self.keep = keep
        self.layers = Layers(for_inference(model if consume else copy.deepcopy(model)))
        self.remaining = 0
        self._run: Run | None = None

    def expect(self, images: int) -> None:
        """Say how many images will come: ``auto`` weighs the preparation of an engine against them."""
        self.remaining = images

    @torch.inference_mode()
    def forward(self, images: Tensor) -> LowResLogits:
        """Logits of uint8 RGB images (N x 3 x H x W), at the network's own resolution where that is coarser."""
        model = self.layers.model
        inputs = model.pad(model.normalize(images))
        run = self._run
        if run is None:
            with PREPARING:  # by the first of several threads
                run = self._run = self._run or self._prepare(inputs)
        return model.upsample(run(inputs), images.shape[2], images.shape[3])

    def _prepare(self, example: Tensor) -> Run:
        if self.engine == "openvino":
            return openvino_engine(self.layers, self.precision, example, self.keep)
        if self.engine == "onnxruntime":
            return onnxruntime_engine(self.layers, example)
        if self.engine == "compile":
            return compile_engine(self.layers, self.precision)
        if self.engine == "torch" or example.device.type != "cpu" or not has_openvino():
            return torch_engine(self.layers, self.precision)
        sides = "x".join(str(-(-side // PATCH)) for side in example.shape[2:])
        key = f"engine, {structure(self.layers)}, {self.precision}, {sides}"
        if choices.known(key, ENGINES) == "torch":
            return torch_engine(self.layers, self.precision)
        if self.keep and is_kept(self.layers):
            return openvino_engine(self.layers, self.precision, example, self.keep)
        return self._weighing(torch_engine(copy.deepcopy(self.layers), self.precision), key)

    def _weighing(self, in_torch: Run, key: str) -> Run:
        """Run in torch until the images still to come would take longer than preparing OpenVINO; then the faster one."""

        def run(inputs: Tensor) -> Tensor:
            start = time.perf_counter()
            values = in_torch(inputs)
            seconds = time.perf_counter() - start
            with PREPARING:
                self.remaining -= len(inputs)
                # The first run measures its convolutions as well; an image later the time is the right one.
                if self._warm and self._run is run and self.remaining * seconds > PREPARATION_SECONDS:
                    prepared = openvino_engine(self.layers, self.precision, inputs, self.keep)
                    engines = dict(zip(ENGINES, (in_torch, prepared), strict=True))
                    runs = {name: partial(engine, inputs) for name, engine in engines.items()}
                    limit = max(CONTEST_SECONDS, CONTEST_SHARE * self.remaining * seconds)
                    self._run = engines[choices.find(key, ENGINES, partial(race, runs, CONTEST_ROUNDS, limit, PAUSE))]
                self._warm = True
            return values

        return run

    _warm = False


ENGINES = ("torch", "openvino")
"""Those that ``auto`` chooses between."""

PATCH = 128
"""Pixels of a side within which the choice between engines is taken to be the same."""

PREPARATION_SECONDS = 6.0
"""What it may take to convert a large network for OpenVINO."""

CONTEST_ROUNDS = 5
CONTEST_SECONDS = 1.0
CONTEST_SHARE = 0.01
"""What it may take to compare two engines: seconds, or a share of the work to come. One round says little on a busy machine."""


def for_inference(model: SegmentationModel) -> SegmentationModel:
    """The model itself in eval mode, without an auxiliary head and with batch normalization folded."""
    model.eval().requires_grad_(False)
    model.without_auxiliary()
    fold_batch_norm(model)
    return model


def fold_batch_norm(model: SegmentationModel) -> int:
    """Fold each batch normalization in eval mode into the convolution whose output it takes; returns how many were.

    Pairs are found by running the network on a small image and watching which tensor goes where, so it does not matter how the
    layers are written down. (On the meta device it would take no sums, but a second of imports.)
    w' = w g / sqrt(v + e), b' = (b - m) g / sqrt(v + e) + beta (Ioffe and Szegedy, 2015).
    """
    pairs = _conv_norm_pairs(model)
    network = model.network
    for conv_name, norm_name in pairs:
        conv, norm = network.get_submodule(conv_name), network.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        weight, bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        conv.weight, conv.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
        # timm's BatchNormAct2d holds the activation as well
        rest = [part for part in (getattr(norm, "drop", None), getattr(norm, "act", None)) if isinstance(part, nn.Module)]
        network.set_submodule(norm_name, nn.Sequential(*rest) if rest else nn.Identity())
    return len(pairs)


def _conv_norm_pairs(model: SegmentationModel) -> list[tuple[str, str]]:
    made: dict[int, tuple[str, Tensor]] = {}  # the tensor is kept, or its id would be given again
    calls: dict[str, int] = {}
    pairs: list[tuple[str, str]] = []

    def made_by(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            calls[name] = calls.get(name, 0) + 1
            made[id(output)] = (name, output)

        return hook

    def taken_by(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            calls[name] = calls.get(name, 0) + 1
            if id(inputs[0]) in made:
                pairs.append((made[id(inputs[0])][0], name))

        return hook

    with ExitStack() as hooks, torch.no_grad():
        for name, module in model.network.named_modules():
            if isinstance(module, nn.Conv2d):
                hooks.callback(module.register_forward_hook(made_by(name)).remove)
            elif isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
                hooks.callback(module.register_forward_pre_hook(taken_by(name)).remove)
        model.layers(model.pad(next(model.parameters()).new_zeros(1, 3, PROBE, PROBE)))
    return [(conv, norm) for conv, norm in pairs if calls[conv] == calls[norm] == 1]
