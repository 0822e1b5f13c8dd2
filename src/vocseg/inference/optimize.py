"""Rewrite a network for inference: the same masks, faster.

In this order: the auxiliary head goes; batch normalization is folded into the convolutions before it; weights take the
channels-last layout and the precision; an engine (:mod:`vocseg.inference.engines`) runs the layers; and the upsampling
that ends the network is left to the caller, who may need its arg max only.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from vocseg.inference.engines import CONVERTING, CPU_ENGINES, EngineName, Run, choose_engine, make_engine
from vocseg.models import SegmentationModel
from vocseg.ops.low_res_logits import LowResLogits

PROBE = 128
"""Side of the image that finds which layers follow each other; no network of the registry needs a larger one."""

EXAMPLE = (256, 320)
"""Height and width of the image that engines trace a network with."""


class MainOutput(nn.Module):
    """The layers of a model that its main output needs."""

    def __init__(self, model: SegmentationModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model.layers(images)["out"]


class OptimizedModel:
    """A copy of a model, in eval mode and rewritten for one device and precision.

    ``engine`` is prepared at once, except that ``auto`` prepares OpenVINO when it is first chosen. Raises ModelError if
    the engine is not installed.
    """

    def __init__(
        self,
        model: SegmentationModel,
        device: torch.device | str = "cpu",
        precision: torch.dtype = torch.float32,
        engine: EngineName = "auto",
    ) -> None:
        self.model = for_inference(copy.deepcopy(model)).to(device)
        self.device = torch.device(device)
        self.precision = precision
        self.engine: EngineName = engine
        if engine not in CPU_ENGINES:  # those convert the weights themselves
            self.model.network.to(dtype=precision, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._runs: dict[EngineName, Run] = {}
        self._run(1)

    @torch.inference_mode()
    def __call__(self, images: Tensor, total: int = 1) -> LowResLogits:
        """Compute logits of uint8 RGB images (N x 3 x H x W, on the device), before the last upsampling.

        ``total``: how many images the caller is going to pass in all, by which ``auto`` chooses the engine.
        """
        model = self.model
        values = self._run(total)(model.pad(model.normalize(images)))
        return model.upsample(values, images.shape[2], images.shape[3])

    def _run(self, total: int) -> Run:
        name = choose_engine(self.engine, self.device, self.precision, total)
        if name not in self._runs:
            with CONVERTING:  # by the first of several threads
                if name not in self._runs:
                    example = self.model.pad(torch.zeros(1, 3, *EXAMPLE, device=self.device))
                    self._runs[name] = make_engine(name, MainOutput(self.model).eval(), self.precision, example)
        return self._runs[name]


def for_inference(model: SegmentationModel) -> SegmentationModel:
    """Put a model in eval mode without an auxiliary head and with batch normalization folded, in place."""
    model.eval().requires_grad_(False)
    model.without_auxiliary()
    fold_batch_norm(model)
    return model


def fold_batch_norm(model: SegmentationModel) -> int:
    """Fold each batch normalization in eval mode into the convolution whose output it takes; return how many were.

    Pairs are found by running the network on a small image and watching which tensor goes where, so they do not depend
    on how the layers are written. (On the meta device this would need no arithmetic, but a second of imports.) w' = w g
    / sqrt(v + e), b' = (b - m) g / sqrt(v + e) + beta (Ioffe and Szegedy, 2015).
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
    made: dict[int, tuple[str, Tensor]] = {}  # the tensor is kept so that its id stays unique
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
