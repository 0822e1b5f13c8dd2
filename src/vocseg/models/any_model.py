"""A model for a name, a file, or any network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from vocseg.errors import ModelError
from vocseg.models.adapt import adapt
from vocseg.models.base import SegmentationModel
from vocseg.models.checkpoint import read_info, read_weights_file
from vocseg.models.info import ModelInfo, names_of
from vocseg.models.registry import comes_untrained, create_model
from vocseg.models.weights import load_weights
from vocseg.utils.files import is_file_name
from vocseg.utils.stand_ins import fetched


def _check_named(model: SegmentationModel, name: str, weights: str | None) -> None:
    """Raise ModelError unless the classes of a model name what its weights predict: other rows would be random."""
    if not is_file_name(weights or name):
        if weights in ("none", "backbone") or comes_untrained(name, weights):
            return  # random on purpose
        raise ModelError(f"classes name what a network or a file of weights predicts; {name} names its own")
    state, names = read_weights_file(fetched(weights or name))
    weights = weights or name
    if names is not None and tuple(names) != model.class_names:
        raise ModelError(f"{weights} predicts {', '.join(names[:3])}, ... ({len(names)} classes), not the classes that were passed")
    layers = tuple(f"{layer}.weight" for layer in model.class_layers)
    counts = {len(value) for key, value in state.items() if key.endswith(layers)} - {len(model.class_names)}
    if counts:
        raise ModelError(f"{weights} predicts {counts.pop()} classes, but {len(model.class_names)} names were passed")


def as_model(
    model: str | Path | nn.Module, classes: Sequence[str] | None = None, weights: str | Path | None = None
) -> SegmentationModel:
    """Return a model for a name, a file, or any network; ``classes`` are the names that a plain ``nn.Module`` predicts.

    ``weights`` of a network are a file, loaded into it; a model file also names the classes. Raises ModelError if a plain
    network comes without classes.
    """
    if not isinstance(model, nn.Module):
        weights = None if weights is None else str(weights)
        built = create_model(str(model), classes, weights)
        if classes is not None:
            _check_named(built, str(model), weights)
        return built
    if weights is not None:
        state, names = read_weights_file(fetched(weights))
        if names and not classes and not isinstance(model, SegmentationModel):
            built = adapt(model, read_info(fetched(weights)))
        else:
            built = as_model(model, classes)
        load_weights(built, state, names, str(weights))
        return built
    if isinstance(model, SegmentationModel):
        return model
    if classes is None:
        raise ModelError(f"network {type(model).__name__} does not say what it predicts; pass classes=[...], their names in order")
    return adapt(model, ModelInfo(type(model).__name__, names_of(classes)))
