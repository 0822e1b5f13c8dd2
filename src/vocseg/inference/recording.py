"""A network recorded as a graph of operations, which torch runs without Python between them.

A small network spends a tenth of its time in Python on a CPU, where threads with an image each also wait for each other.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

RECORD = 100
"""Number of images from which recording a network, which takes a quarter of a second, pays off."""


def record(layers: nn.Module, examples: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
    """Return a graph of what ``layers`` compute, with the same weights, for images of any size.

    ``examples``: of several sizes, on which the graph must give the very output of the layers. Returns the layers themselves if
    it does not, if they cannot be recorded, or if their Python looks at values or sizes, which a graph would take for constants.
    """
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", torch.jit.TracerWarning)  # type: ignore[attr-defined]
            traced = torch.jit.trace(layers, examples[0], check_trace=False)  # type: ignore[no-untyped-call]
            graph: Callable[[Tensor], Tensor] = torch.jit.freeze(traced, optimize_numerics=False)
            return graph if all(torch.equal(graph(example), layers(example)) for example in examples) else layers
    except Exception:  # of the tracer, about code that is not ours
        return layers
