"""Progress bars, shown only on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")


def progress(items: Iterable[Item], total: int, title: str | None, unit: str = "image") -> Iterator[Item]:
    """Iterate over ``items`` with a progress bar that disappears at the end; without a title there is none."""
    return iter(items) if title is None else iter(bar(items, total=total, desc=title, unit=unit))


def bar(items: Any = None, **options: Any) -> Any:
    """Create a tqdm bar with the look that all verbs share; ``options`` are tqdm's."""
    from tqdm import tqdm

    return tqdm(items, **({"disable": None, "leave": False, "dynamic_ncols": True} | options))


def duration(seconds: float) -> str:
    """Format a duration.

    >>> duration(90), duration(600), duration(7500)
    ('90 s', '10 min', '2 h 5 min')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
