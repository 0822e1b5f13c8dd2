"""Parameters and multiply-adds of models, counted without computing anything."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from vocseg.errors import InputError, ModelError
from vocseg.models.registry import create_model, find_family, list_models
from vocseg.utils.progress import progress


def costs(name: str, height: int, width: int) -> tuple[int, int]:
    """Count the parameters of a model and the multiply-adds to segment one image, on torch's meta device.

    An auxiliary head counts if eval mode runs it. Raises ModelError for an unknown name or a combination that cannot be
    built.
    """
    with torch.device("meta"):
        model = create_model(name, weights="none").eval()
        parameters = sum(parameter.numel() for parameter in model.parameters())
        try:
            with FlopCounterMode(display=False) as counter, torch.inference_mode():
                model(torch.zeros(1, 3, height, width, dtype=torch.uint8))
        except (RuntimeError, ValueError, AssertionError) as error:
            raise ModelError(f"{name} does not take {height}x{width}: {str(error).splitlines()[0]}") from error
    return parameters, counter.get_total_flops() // 2


def describe_models(pattern: str | None = None, size: tuple[int, int] = (375, 500)) -> list[dict[str, Any]]:
    """Describe each model that a name or a pattern (see :func:`list_models`) selects, by a row ready for JSON.

    ``size`` is the height and width of the image that multiply-adds are counted for. A combination that cannot be
    built has an ``error`` instead of figures. Raises ModelError for an unknown name, InputError if nothing matches.

    >>> [row] = describe_models("two_layer_net", (64, 64))
    >>> row["parameters"], row["weights"]
    (26521, ['none'])
    """
    rows: list[dict[str, Any]] = []
    names = _select(pattern)
    for name in progress(names, len(names), "count", "model"):
        family = find_family(name)
        row: dict[str, Any] = {"name": name, "family": family.title}
        try:
            parameters, multiply_adds = costs(name, *size)
        except InputError as error:  # some encoders of segmentation_models_pytorch do not fit some decoders
            rows.append(row | {"error": str(error)})
            continue
        row |= {"weights": list(family.weights), "parameters": parameters, "multiply_adds": multiply_adds}
        miou, data = family.published(name) or (None, None)
        rows.append(row | {"miou": miou, "miou_on": data})
    return rows


def _select(pattern: str | None) -> list[str]:
    if pattern is not None and not any(sign in pattern for sign in "*?["):
        if not pattern.endswith(":"):
            find_family(pattern)
            return [pattern]
        pattern += "*"
    names = list_models(pattern)
    if not names:
        raise InputError(f"no model matches '{pattern}'")
    return names
