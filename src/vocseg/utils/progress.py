"""Progress bars, silent where the output is no terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")


def progress(items: Iterable[Item], total: int, title: str, unit: str = "image") -> Iterator[Item]:
    """``items`` behind a bar that goes when they end."""
    return iter(bar(items, total=total, desc=title, unit=unit))


def bar(items: Any = None, **options: Any) -> Any:
    """A tqdm bar as all verbs show it."""
    from tqdm import tqdm

    return tqdm(items, **({"disable": None, "leave": False, "dynamic_ncols": True} | options))


def duration(seconds: float) -> str:
    """Hours and minutes, or seconds where there are few."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
