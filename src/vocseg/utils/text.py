"""Numbers in sentences."""

from __future__ import annotations

from collections.abc import Mapping


def counted(number: int, thing: str) -> str:
    """A number of things, the thing in the singular where there is one.

    >>> counted(1, "image"), counted(1449, "image"), counted(0, "box"), counted(2, "class"), counted(2, "copy")
    ('1 image', '1,449 images', '0 boxes', '2 classes', '2 copies')
    """
    if number != 1:
        thing = f"{thing}es" if thing.endswith(("s", "x")) else f"{thing[:-1]}ies" if thing.endswith("y") else f"{thing}s"
    return f"{number:,} {thing}"


def shares(areas: Mapping[str, float]) -> list[str]:
    """Names, each with its share 0..1.

    >>> shares({"cat": 0.796, "background": 0.204})
    ['cat 79.6%', 'background 20.4%']
    """
    return [f"{name} {share:.1%}" for name, share in areas.items()]
