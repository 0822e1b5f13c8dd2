"""Quantize exported networks to 8-bit integers."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from vocseg.export.onnx import require
from vocseg.utils.telemetry import import_nncf, import_openvino, unreported


def quantize(source: Path, target: Path, images: Sequence[Tensor]) -> None:
    """Quantize weights and activations of an OpenVINO network to int8, with the ranges that they have on ``images``.

    ``images``: uint8 RGB, 3 x H x W. Weights are symmetric per channel, activations asymmetric (the preset "mixed" of
    NNCF; Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference", 2018). Depthwise layers stay
    in floating point: the ranges of their channels differ most (Sheng et al., "A quantization-friendly separable
    convolution for MobileNets", 2018), and they take little of the time. The range of an activation is from the median
    over images of its smallest value to that of its largest, which rare outliers do not widen. Raises ModelError if
    NNCF is missing.
    """
    require("openvino", "nncf")
    openvino = import_openvino()
    with contextlib.redirect_stdout(io.StringIO()), unreported():  # NNCF prints a banner
        nncf = import_nncf()
        logging.getLogger("nncf").setLevel(logging.ERROR)
        estimators = nncf.quantization.range_estimator.RangeEstimatorParametersSet
        ranges = nncf.AdvancedQuantizationParameters(activations_range_estimator_params=estimators.MEDIAN_MINMAX)
        graph = nncf.quantize(
            openvino.Core().read_model(source),
            nncf.Dataset(images, lambda image: image[None].numpy()),
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(types=["GroupConvolution"], validate=False),
            subset_size=len(images),
            advanced_parameters=ranges,
        )
    openvino.save_model(graph, target, compress_to_fp16=False)
