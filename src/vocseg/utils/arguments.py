"""Values checked against their type annotations: settings, and the arguments of public functions."""

from __future__ import annotations

import inspect
import numbers
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, wraps
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from vocseg.errors import SettingError, nearest

P = ParamSpec("P")
T = TypeVar("T")

NAMES = {int: "an integer", float: "a number", str: "a string", bool: "true or false", Path: "a path"}


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """Check the arguments of a public function against its annotations before it runs.

    Raises SettingError for a value of another type, so that it is found before work is done and is not an error from
    deep inside.

    >>> @checked
    ... def read(path: str | Path, limit: int = 5) -> None: ...
    >>> try:
    ...     read("x", limit="5")
    ... except SettingError as error:
    ...     print(error)
    read: limit must be an integer, not '5'
    """
    signature = inspect.signature(function)
    caller = function.__qualname__.removesuffix(".__init__")

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        kinds = _kinds(function)
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            # Of *args and **kwargs the annotation is that of each value.
            if signature.parameters[name].kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
                check(f"{caller}: {name}", value, kinds.get(name, Any))
        return function(*args, **kwargs)

    return run


@cache
def _kinds(function: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(function)


def check(what: str, value: object, kind: Any) -> None:
    """Raise SettingError, naming ``what``, unless the value is of an annotated kind."""
    if fits(value, kind):
        return
    choices = [choice for part in _parts(kind) if get_origin(part) is Literal for choice in get_args(part)]
    hint = nearest(value, choices) if isinstance(value, str) else ""
    shown = f"{value!r:.80}" if isinstance(value, str | numbers.Number | Sequence | NoneType) else type(value).__name__
    raise SettingError(f"{what} must be {in_words(kind)}, not {shown}{hint}")


def fits(value: object, kind: Any) -> bool:
    """Tell whether a value is of an annotated kind; what cannot be told, as of a type variable, fits.

    An integer is also a number, but true and false are neither. A string is not a sequence of strings.
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return isinstance(value, str) and value in parts
    if kind in (int, float):
        return isinstance(value, numbers.Integral if kind is int else numbers.Real) and not isinstance(value, bool)
    if origin is tuple:
        each = parts[:1] * len(value) if isinstance(value, tuple | list) and parts[-1] is ... else parts
        return isinstance(value, tuple | list) and len(value) == len(each) and all(map(fits, value, each))
    if origin in (Sequence, Iterable, list):
        if isinstance(value, str | bytes | os.PathLike) or not isinstance(value, Iterable):
            return False
        return not isinstance(value, list | tuple) or all(fits(item, parts[0]) for item in value)
    if origin is Mapping:
        return isinstance(value, Mapping)
    if origin is Callable:
        return callable(value)
    kind = os.PathLike if kind is Path else origin or kind
    return kind is Any or not isinstance(kind, type) or isinstance(value, kind)


def in_words(kind: Any) -> str:
    """Say in words which values an annotation allows.

    >>> in_words(int | None), in_words(Literal["sgd", "adamw"])
    ('an integer', "'sgd' or 'adamw'")
    """
    texts = dict.fromkeys(text for part in _parts(kind) if part is not NoneType for text in _texts(part))
    return " or ".join(texts)


def _parts(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _texts(kind: Any) -> list[str]:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return [repr(value) for value in parts]
    if origin is tuple:
        each = in_words(parts[0])
        return [f"a sequence of {each}" if parts[-1] is ... else f"{len(parts)} values, each {each}"]
    if origin in (Sequence, Iterable, list):
        return ["a list" if parts[0] in (Any, object) else f"a list, each {in_words(parts[0])}"]
    if origin in (Mapping, Callable):
        return ["a dict" if origin is Mapping else "a function"]
    name = getattr(origin or kind, "__name__", str(kind))
    return [NAMES.get(kind) or f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"]
