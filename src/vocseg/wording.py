"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, thing: str) -> str:
    """A number of things, the thing in the singular where there is one.

    >>> counted(1, "picture"), counted(1449, "picture"), counted(0, "box"), counted(2, "class"), counted(2, "copy")
    ('1 picture', '1,449 pictures', '0 boxes', '2 classes', '2 copies')
    """
    if number != 1:
        thing = f"{thing}es" if thing.endswith(("s", "x")) else f"{thing[:-1]}ies" if thing.endswith("y") else f"{thing}s"
    return f"{number:,} {thing}"
