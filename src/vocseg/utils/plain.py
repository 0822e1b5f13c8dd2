"""Results as JSON and back, exactly: what is read can be data alone, whoever wrote it."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vocseg import errors
from vocseg.errors import DataError

KIND, OF = "kind", "of"


def dumps(value: Any, classes: Sequence[type] = ()) -> str:
    """Return JSON of numbers, texts, paths, arrays, errors of data, lists, tuples, dictionaries, and dataclasses and named
    tuples that are among ``classes``.

    >>> loads(dumps({"a.jpg": (Path("a"), 0.1, np.arange(3))}))
    {'a.jpg': (PosixPath('a'), 0.1, array([0, 1, 2]))}
    """
    return json.dumps(_plain(value, {kind: kind.__name__ for kind in classes}), separators=(",", ":"))


def loads(text: str, classes: Sequence[type] = ()) -> Any:
    """Return what :func:`dumps` made a text of; ValueError if it did not."""
    try:
        return _value(json.loads(text), {kind.__name__: kind for kind in classes})
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"no result: {type(error).__name__}: {error}") from error


def _plain(value: Any, names: dict[type, str]) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is list:
        return [_plain(each, names) for each in value]
    if isinstance(value, Path):
        return {KIND: "path", OF: str(value)}
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
        return {KIND: "array", OF: [value.dtype.str, value.shape, b64encode(value.tobytes()).decode()]}
    if type(value) is dict:
        return {KIND: "dict", OF: [[_plain(key, names), _plain(each, names)] for key, each in value.items()]}
    if isinstance(value, DataError):
        name = next(kind.__name__ for kind in type(value).__mro__ if getattr(errors, kind.__name__, None) is kind)
        return {KIND: "error", OF: [name, str(value), value.exit_code]}
    if type(value) is not tuple and type(value) not in names:
        raise TypeError(f"a result holds {type(value).__name__}")
    parts = [getattr(value, field.name) for field in fields(value)] if is_dataclass(value) else [*value]
    return {KIND: names.get(type(value), "tuple"), OF: [_plain(part, names) for part in parts]}


def _value(plain: Any, kinds: dict[str, type]) -> Any:
    if isinstance(plain, list):
        return [_value(each, kinds) for each in plain]
    if not isinstance(plain, dict):
        return plain
    kind, of = plain[KIND], plain[OF]
    if kind == "path":
        return Path(of)
    if kind == "array":
        dtype = np.dtype(of[0])
        if dtype.kind not in "biuf":
            raise ValueError(f"an array of {dtype}")
        return np.frombuffer(b64decode(of[2]), dtype).reshape(of[1]).copy()[()]
    if kind == "dict":
        return {_value(key, kinds): _value(each, kinds) for key, each in of}
    if kind == "error":
        found = getattr(errors, of[0])
        if not issubclass(found, DataError):
            raise ValueError(f"an error of kind {of[0]}")
        error = found(of[1])
        error.exit_code = int(of[2])
        return error
    parts = tuple(_value(part, kinds) for part in of)
    return parts if kind == "tuple" else kinds[kind](*parts)
