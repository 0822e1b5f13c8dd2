"""Outlines of regions along pixel edges: exact, so that filling them gives the region back."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Region = NDArray[np.bool_]
Ring = NDArray[np.int64]
"""Corners, N x 2, x and y in pixel edges; without the first repeated at the end."""

# Directions clockwise on the screen, y down: right, down, left, up.
_STEPS = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])


class Part(NamedTuple):
    """A connected part of a region: its outline, the outlines of its holes, and its pixels."""

    outline: Ring
    holes: list[Ring]
    area: int


def parts(region: Region) -> list[Part]:
    """Find the parts of a region whose pixels touch along edges, upper left first."""
    rings, left_edges = _rings(region)
    holes: dict[int, list[int]] = {}
    parent: list[int] = []
    for index, ring in enumerate(rings):
        if _area(ring) > 0:
            parent.append(index)
            holes[index] = []
            continue
        # Along the row above a hole's top edge, the nearest outline to the left belongs to the part, or to a hole in it.
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


def components(region: Region) -> list[Ring]:
    """Return one ring for each of the :func:`parts` of a region.

    Holes are cut open: a bridge of no width runs from the outline to the hole and back, so that formats without holes hold
    them. Even-odd filling by pixel centers gives the part back exactly.
    """
    return [_cut_open(part.outline, part.holes) for part in parts(region)]


def _rings(region: Region) -> tuple[list[Ring], dict[tuple[int, int], int]]:
    """Closed outlines with the region on their right, and the ring of each pixel's left edge (x, y) that is on one.

    Rings are ordered by their topmost, then leftmost corner. Where two pixels touch at a corner only, rings part.
    """
    padded = np.pad(region, 1)
    inside = padded[1:-1, 1:-1]
    edges: dict[tuple[int, int, int], None] = {}
    for direction, beyond in enumerate((padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])):
        ys, xs = np.nonzero(inside & ~beyond)
        # where the edge that runs in this direction starts: top edges at the upper left corner, and so on clockwise
        dx, dy = ((0, 0), (1, 0), (1, 1), (0, 1))[direction]
        edges.update(dict.fromkeys(zip((xs + dx).tolist(), (ys + dy).tolist(), [direction] * len(xs), strict=True)))
    rings: list[Ring] = []
    left_edges: dict[tuple[int, int], int] = {}
    # The first edge left, in reading order, of a ring is a top edge of an outline or the bottom of the row above a hole.
    for start in sorted(edges, key=lambda edge: (edge[1], edge[0])):
        if start not in edges:
            continue
        corners = []
        x, y, direction = start
        while (x, y, direction) in edges:
            del edges[x, y, direction]
            if direction == 3:
                left_edges[x, y - 1] = len(rings)
            x, y = x + int(_STEPS[direction][0]), y + int(_STEPS[direction][1])
            # Right first: keeps to the same pixel, so parts that touch at a corner stay apart.
            turned = next((turn for turn in (1, 0, 3) if (x, y, (direction + turn) % 4) in edges), None)
            if turned is None:
                turned = (start[2] - direction) % 4
            if turned:
                corners.append((x, y))
            direction = (direction + turned) % 4
        rings.append(np.array(corners, dtype=np.int64))
    return rings, left_edges


def _area(ring: Ring) -> float:
    """Enclosed pixels; negative for a hole."""
    x, y = ring.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _cut_open(outline: Ring, holes: list[Ring]) -> Ring:
    """The outline with a bridge to the first corner of each hole, from the corner that is nearest to it."""
    for hole in holes:
        at = int(np.abs(outline - hole[0]).sum(1).argmin())
        outline = np.concatenate((outline[: at + 1], hole, hole[:1], outline[at:]))
    return outline
