"""Trace the outlines of regions along pixel edges. Filling them by pixel centers gives the regions back exactly."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Region = NDArray[np.bool_]
Ring = NDArray[np.int64]
"""Corners on pixel edges, N x 2 (x, y); the first is not repeated at the end."""

_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""Directions along an outline, clockwise on the screen: right, down, left, up."""


class Part(NamedTuple):
    """A 4-connected part of a region: its outline, the outlines of its holes, and its number of pixels."""

    outline: Ring
    holes: list[Ring]
    area: int


def outlines(region: Region) -> list[Ring]:
    """Return one ring for each of the :func:`parts` of a region.

    Holes are cut open: a bridge of zero width runs from the outline to the hole and back, so formats without holes can
    store them.
    """
    return [_cut_open(part.outline, part.holes) for part in parts(region)]


def parts(region: Region) -> list[Part]:
    """Find the 4-connected parts of a region, the uppermost, then leftmost, first."""
    rings, left_edges = _trace(region)
    holes: dict[int, list[int]] = {}
    parent: list[int] = []
    for index, ring in enumerate(rings):
        if _area(ring) > 0:
            parent.append(index)
            holes[index] = []
            continue
        # In the row above a hole's top edge, the nearest outline to the left is the part's, or another hole's.
        x, y = ring[np.lexsort((ring[:, 0], ring[:, 1]))[0]]
        y -= 1
        while (x, y) not in left_edges:
            x -= 1
        parent.append(parent[left_edges[x, y]])
        holes[parent[-1]].append(index)
    return [
        Part(rings[outer], [rings[index] for index in inner], round(sum(_area(rings[index]) for index in (outer, *inner))))
        for outer, inner in holes.items()
    ]


def _trace(region: Region) -> tuple[list[Ring], dict[tuple[int, int], int]]:
    """Return the closed outlines, with the region on their right, and the ring at each left pixel edge (x, y).

    Rings are ordered by their topmost, then leftmost corner. Pixels that only touch at a corner get separate rings.
    """
    padded = np.pad(region, 1)
    inside = padded[1:-1, 1:-1]
    edges: dict[tuple[int, int, int], None] = {}
    for direction, beyond in enumerate((padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])):
        ys, xs = np.nonzero(inside & ~beyond)
        # An edge to the right starts at its pixel's upper left corner, an edge down at the upper right one, ...
        dx, dy = ((0, 0), (1, 0), (1, 1), (0, 1))[direction]
        edges.update(dict.fromkeys(zip((xs + dx).tolist(), (ys + dy).tolist(), [direction] * len(xs), strict=True)))
    rings: list[Ring] = []
    left_edges: dict[tuple[int, int], int] = {}
    # In reading order, a ring's first edge is a top edge of an outline, or the bottom edge of the row above a hole.
    for start in sorted(edges, key=lambda edge: (edge[1], edge[0])):
        if start not in edges:
            continue
        corners = []
        x, y, direction = start
        while (x, y, direction) in edges:
            del edges[x, y, direction]
            if direction == 3:
                left_edges[x, y - 1] = len(rings)
            x, y = x + _STEPS[direction][0], y + _STEPS[direction][1]
            # Right first: it stays at the same pixel, so parts that touch at a corner stay apart.
            turned = next((turn for turn in (1, 0, 3) if (x, y, (direction + turn) % 4) in edges), None)
            if turned is None:
                turned = (start[2] - direction) % 4
            if turned:
                corners.append((x, y))
            direction = (direction + turned) % 4
        rings.append(np.array(corners, dtype=np.int64))
    return rings, left_edges


def _area(ring: Ring) -> float:
    """Return the number of enclosed pixels; negative for a hole."""
    x, y = ring.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _cut_open(outline: Ring, holes: list[Ring]) -> Ring:
    """Return the outline with a bridge to the first corner of each hole from the corner nearest to it."""
    for hole in holes:
        at = int(np.abs(outline - hole[0]).sum(1).argmin())
        outline = np.concatenate((outline[: at + 1], hole, hole[:1], outline[at:]))
    return outline
