"""Images of different sizes in batches of equal size."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

WINDOW = 8
"""How many batches' items an item may wait for others of its size."""


def batches_by_size(items: Iterable[Item], batch_size: int, size_of: Callable[[Item], Hashable]) -> Iterator[list[Item]]:
    """Group items of equal size into batches of up to ``batch_size``, in the order in which batches fill up.

    No item waits for more than ``WINDOW`` times ``batch_size`` later ones, so memory is bounded.

    >>> list(batches_by_size(["aa", "b", "cc", "d", "e"], 2, len))
    [['aa', 'cc'], ['b', 'd'], ['e']]
    """
    waiting: dict[Hashable, list[Item]] = {}  # by size, in the order of their first items
    since: dict[Hashable, int] = {}
    for number, item in enumerate(items):
        size = size_of(item)
        since.setdefault(size, number)
        waiting.setdefault(size, []).append(item)
        oldest = next(iter(waiting))
        if len(waiting[size]) == batch_size:
            del since[size]
            yield waiting.pop(size)
        elif number - since[oldest] >= WINDOW * batch_size:
            del since[oldest]
            yield waiting.pop(oldest)
    yield from waiting.values()
