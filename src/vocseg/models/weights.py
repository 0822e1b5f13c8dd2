"""Weights trained for some classes, loaded into a network for others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from vocseg.errors import ModelError
from vocseg.models.base import SegmentationModel


def load_weights(model: SegmentationModel, state: Mapping[str, Tensor], classes: Sequence[str] | None, source: str) -> None:
    """Load a network's state dict trained for ``classes`` into ``model``.

    Where the model has other classes, its class layers stay as initialized except for the rows of classes with the same
    name, which are copied. ``classes`` None: the file does not say; rows are then taken as they are where their number
    fits, and dropped where it does not. Layers that the file lacks raise ModelError naming ``source``, except the
    auxiliary head, which only training uses; layers that only the file has are passed over when they are auxiliary too.
    """
    own = model.network.state_dict()
    state = _without_prefix(state, own)
    rows = _matching_rows(classes, model.info.classes)
    merged: dict[str, Tensor] = {}
    for key, target in own.items():
        value = state.get(key)
        if value is None:
            if not _optional(key):
                raise ModelError(f"{source} does not fit {model.info.architecture}: it has no {key}")
            merged[key] = target
        elif _in(key, model.class_layers) and (rows is not None or value.shape[:1] != target.shape[:1]):
            merged[key] = _copy_rows(target, value, rows or ())
        else:
            merged[key] = value
        if merged[key].shape != target.shape:
            raise ModelError(
                f"{source} does not fit {model.info.architecture}: {key} is {list(merged[key].shape)}, not {list(target.shape)}"
            )
    extra = sorted(key for key in state.keys() - own.keys() if not _optional(key))
    if extra:
        raise ModelError(f"{source} does not fit {model.info.architecture}: it also has {extra[0]}")
    model.network.load_state_dict(merged)


PREFIXES = ("module.", "_orig_mod.", "network.", "model.", "net.")
"""What data parallelism, torch.compile, Lightning and others put before every name of a state dict."""


def _without_prefix(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    while not state.keys() & own.keys():
        prefix = next((prefix for prefix in PREFIXES if state and all(key.startswith(prefix) for key in state)), None)
        if prefix is None:
            break
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _matching_rows(source: Sequence[str] | None, target: Sequence[str]) -> list[tuple[int, int]] | None:
    """Pairs (target row, source row) of classes with one name; None where rows need no move."""
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


def _in(key: str, layers: Sequence[str]) -> bool:
    return any(key.startswith(f"{layer}.") for layer in layers)


def _optional(key: str) -> bool:
    return key.startswith("aux_classifier.") or key.endswith("num_batches_tracked")
