"""Rewrite a network for inference: the same masks, faster.

In this order: the auxiliary head goes; batch normalization is folded into the convolutions before it; weights take the
channels-last layout and the precision; an engine (:mod:`vocseg.inference.engines`) runs the layers; and the upsampling
that ends the network is left to the caller, who may need its arg max only.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vocseg.errors import ModelError, VocsegError, reason
from vocseg.inference.engines import CONVERTING, EngineName, Run, choose_engine, make_engine
from vocseg.inference.fusion import fuse_activations
from vocseg.inference.layer_pairs import called_in_turn
from vocseg.inference.options import CPU_ENGINES
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

    def engine_for(self, total: int) -> EngineName:
        """Return the engine that runs ``total`` images."""
        return choose_engine(self.engine, self.device, total)

    def _run(self, total: int) -> Run:
        name = self.engine_for(total)
        if name not in self._runs:
            with CONVERTING:  # by the first of several threads
                if name not in self._runs:
                    example = self._test_image(*EXAMPLE)
                    # Of auto the weights are in torch's precision; engines that convert them take float32.
                    model = copy.deepcopy(self.model).float() if name != self.engine and name in CPU_ENGINES else self.model
                    layers: nn.Module = MainOutput(model).eval()
                    if name == "torch":
                        layers = fuse_activations(layers, self._test_image(PROBE, PROBE).to(self.precision))
                    self._runs[name] = make_engine(name, layers, self.precision, example)
        return self._runs[name]

    def _test_image(self, height: int, width: int) -> Tensor:
        """Return an image, normalized and padded, without symmetry: two networks that agree on it are the same."""
        values = torch.sin(torch.arange(3.0 * height * width, device=self.device)).reshape(1, 3, height, width)
        return self.model.pad(values).contiguous(memory_format=torch.channels_last)


def for_inference(model: SegmentationModel) -> SegmentationModel:
    """Put a model in eval mode without an auxiliary head and with batch normalization folded, in place."""
    model.eval().requires_grad_(False)
    model.without_auxiliary()
    fold_batch_norm(model)
    return model


def fold_batch_norm(model: SegmentationModel) -> int:
    """Fold each batch normalization in eval mode into the convolution whose output it takes; return how many were.

    w' = w g / sqrt(v + e), b' = (b - m) g / sqrt(v + e) + beta (Ioffe and Szegedy, 2015).
    """
    names = {module: name for name, module in model.network.named_modules()}
    pairs = called_in_turn(
        model.network,
        lambda module: isinstance(module, nn.Conv2d),
        lambda module: isinstance(module, nn.BatchNorm2d) and module.track_running_stats,
        lambda: probe(model),
    )
    for conv, norm in pairs:
        fused = fuse_conv_bn_eval(conv, norm)
        conv.weight, conv.bias = fused.weight, fused.bias
        # timm's BatchNormAct2d holds the activation as well
        rest = [part for part in (getattr(norm, "drop", None), getattr(norm, "act", None)) if isinstance(part, nn.Module)]
        model.network.set_submodule(names[norm], nn.Sequential(*rest) if rest else nn.Identity())
    return len(pairs)


@torch.no_grad()
def probe(model: SegmentationModel) -> None:
    """Run a network on a small image; raise ModelError if it fails or does not give a plane of logits for each class."""
    name = model.info.architecture
    try:
        values: Any = model.layers(model.pad(next(model.parameters(), model.mean).new_zeros(1, 3, PROBE, PROBE)))["out"]
        model.check_output(values)
    except VocsegError:
        raise
    except Exception as error:
        raise ModelError(
            f"{name} cannot segment an image of {PROBE}x{PROBE} pixels: {type(error).__name__}: {reason(error)}"
        ) from error
