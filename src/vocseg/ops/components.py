"""Connected components of a label map, from the pieces of rows in which it is constant.

An image has a few thousand such pieces, so what follows is cheap, and any count over components is a sum over pieces.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.uint8]
Ints = NDArray[np.int64]


class Components(NamedTuple):
    """Pieces of rows of a label map in the order of reading: where each starts (row x width + column), and its component."""

    starts: Ints
    numbers: Ints

    def at(self, places: Ints) -> Ints:
        """Return the components at some places."""
        return self.numbers[np.searchsorted(self.starts, places, "right") - 1]


def piece_starts(*maps: Labels) -> Ints:
    """Return where the pieces of rows start in which all label maps, H x W, are constant.

    >>> piece_starts(np.array([[1, 1, 0], [0, 0, 1]], dtype=np.uint8))
    array([0, 2, 3, 5])
    """
    cut = np.zeros(maps[0].shape, dtype=bool)
    cut[:, :1] = True
    for labels in maps:
        cut[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    return np.flatnonzero(cut)


def components(labels: Labels) -> Components:
    """Find the components of a label map, uint8, H x W: pixels of one label that touch at sides or corners.

    >>> components(np.array([[1, 1, 0], [0, 0, 1]], dtype=np.uint8)).numbers
    array([0, 1, 1, 0])
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    starts = piece_starts(labels)
    first, second = _touching(starts, *labels.shape)
    kinds = labels.ravel()[starts]
    same = kinds[first] == kinds[second]
    pairs = first[same].astype(np.int32), second[same].astype(np.int32)  # SciPy's older versions take no other integers
    graph = coo_array((np.ones(len(pairs[0])), pairs), shape=(len(starts), len(starts)))
    return Components(starts, connected_components(graph, directed=False)[1].astype(np.int64))


def _touching(starts: Ints, height: int, width: int) -> tuple[Ints, Ints]:
    """Return the pairs of pieces that touch above each other: a contact begins where one of the two begins."""
    number = np.arange(len(starts))
    below, above = np.searchsorted(starts, [(height - 1) * width, width])  # pieces with a row below, and above
    first, second = [], []
    for own, step in ((number[:below], width), (number[above:], -width)):
        places = starts[own] + step
        other = np.searchsorted(starts, places, "right") - 1
        level = starts[other] == places
        corner = level & (places % width > 0)  # the piece before begins on the left, and touches at the corner
        once = slice(None) if step > 0 else ~level  # pieces that begin together are a pair from above
        first += [own[once], own[corner]]
        second += [other[once], other[corner] - 1]
    return np.concatenate(first), np.concatenate(second)
