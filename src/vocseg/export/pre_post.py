"""Preprocessing and postprocessing as parts of an ONNX graph: normalization and padding, and cropping of the masks.

They are written here instead of traced by torch: with the padding inside the traced graph, torch derives constraints on
the size of every layer, which takes minutes; if all sides are multiples already, it takes seconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from vocseg.models.base import Padding

IMAGES, MASKS = "images", "masks"
"""Names of a file's input (uint8 RGB, N x 3 x H x W) and output (uint8 class ids, N x H x W)."""
INNER, INNER_MASKS = "padded_images", "padded_masks"
"""Names of the input (normalized, padded) and output of the traced graph in the middle."""

BEFORE = """
before (uint8[N, 3, {height}, {width}] images) => (float[N, 3, P, Q] padded_images)
{{
    frame_floats = Cast<to = 1>(images)
    frame_centered = Sub(frame_floats, frame_mean)
    frame_normal = Div(frame_centered, frame_std)
    frame_size = Shape<start = 2>(images)
    frame_beyond = Sub(frame_extra, frame_size)
    frame_missing = Mod(frame_beyond, frame_multiple)
    frame_whole = Add(frame_size, frame_missing)
    frame_padded = Max(frame_whole, frame_smallest)
    frame_added = Sub(frame_padded, frame_size)
    frame_pads = Concat<axis = 0>(frame_nothing, frame_added)
    padded_images = Pad(frame_normal, frame_pads)
}}
"""
AFTER = """
after (uint8[N, P, Q] padded_masks, int64[2] frame_size) => (uint8[N, {height}, {width}] masks)
{{
    masks = Slice(padded_masks, frame_corner, frame_size, frame_axes)
}}
"""


def add_pre_post(graph: Any, mean: Tensor, std: Tensor, padding: Padding, size: tuple[int, int] | None) -> None:
    """Add normalization and padding before an ONNX graph and cropping after it, in place.

    ``mean`` and ``std``: 1 x 3 x 1 x 1, for pixels 0..255. ``size`` (height, width): the file's fixed image size; None:
    any.
    """
    from onnx import numpy_helper, parser

    height, width = ("H", "W") if size is None else size
    before, after = (parser.parse_graph(text.format(height=height, width=width)) for text in (BEFORE, AFTER))
    constants = {
        "mean": mean.numpy(),
        "std": std.numpy(),
        "extra": np.array(padding.extra, np.int64),
        "multiple": np.array(padding.multiple, np.int64),
        "smallest": np.array(padding.smallest, np.int64),
        "nothing": np.zeros(6, np.int64),
        "corner": np.zeros(2, np.int64),
        "axes": np.array([1, 2], np.int64),
    }
    graph.initializer.extend(numpy_helper.from_array(value, f"frame_{name}") for name, value in constants.items())
    nodes = [*before.node, *graph.node, *after.node]
    for part, new in ((graph.node, nodes), (graph.input, before.input), (graph.output, after.output)):
        del part[:]
        part.extend(new)
