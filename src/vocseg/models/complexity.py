"""Size and work of a network, without computing anything."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from vocseg.errors import ModelError
from vocseg.models.registry import create_model


def costs(name: str, height: int, width: int) -> tuple[int, int]:
    """Parameters of a model, and multiply-adds to segment one image, auxiliary head included where eval mode runs it.

    Counted on torch's meta device. Raises ModelError for an unknown name or a combination that cannot be built.
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
