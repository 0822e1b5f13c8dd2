"""Find layers that take each other's output, by watching a run of the network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

Which = Callable[[nn.Module], bool]


@torch.no_grad()
def called_in_turn(network: nn.Module, first: Which, second: Which, run: Callable[[], Any]) -> list[tuple[Any, Any]]:
    """Return each pair of a ``first`` layer and a ``second`` one that takes its output, both called once by ``run``.

    Hooks watch which tensor goes where, so this does not depend on how the layers are written. (On the meta device this
    would need no arithmetic, but a second of imports.)
    """
    made: dict[int, tuple[nn.Module, Tensor]] = {}  # the tensor is kept so that its id stays unique
    calls: Counter[nn.Module] = Counter()
    pairs: list[tuple[nn.Module, nn.Module]] = []

    def after(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        calls[layer] += 1
        made[id(output)] = layer, output

    def before(layer: nn.Module, inputs: Any) -> None:
        calls[layer] += 1
        if id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], layer))

    with ExitStack() as hooks:
        for module in network.modules():
            if first(module):
                hooks.callback(module.register_forward_hook(after).remove)
            elif second(module):
                hooks.callback(module.register_forward_pre_hook(before).remove)
        run()
    return [pair for pair in pairs if calls[pair[0]] == calls[pair[1]] == 1]
