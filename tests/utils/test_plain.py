"""Results as JSON against the results themselves."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocseg.errors import DataError, ImageError
from vocseg.inference.predictions import Prediction
from vocseg.inference.remote import Part
from vocseg.utils.plain import dumps, loads

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.builds(Path, st.just("a/b"))
VALUES = st.recursive(
    LEAVES, lambda each: st.lists(each) | st.lists(each).map(tuple) | st.dictionaries(st.text() | st.integers(), each)
)


@given(VALUES)
def test_values_come_back_as_they_were(value: object) -> None:
    found = loads(dumps(value))
    assert repr(found) == repr(value)


def test_classes_arrays_and_errors_come_back() -> None:
    row = Prediction(Path("a.jpg"), "a.jpg", None, "s3://b/a.jpg", 0.1, {"cat": 1 / 3}, (3, 4), ("note",))
    error = ImageError("cannot decode a.jpg")
    error.exit_code = 1
    part = Part([row], {Path("b.jpg"): error}, [[{"kind": [1.5, None]}]], 2, (np.arange(6).reshape(2, 3), np.float32(0.1)))
    found = loads(dumps(part, (Part, Prediction)), (Part, Prediction))
    assert type(found) is Part
    assert (found.rows, found.entries, found.existing, repr(found.lost[1])) == (part.rows, part.entries, 2, "np.float32(0.1)")
    assert (found.lost[0].tolist(), found.lost[0].dtype) == ([[0, 1, 2], [3, 4, 5]], np.int64)
    assert math.isnan(loads(dumps(math.nan)))
    ((key, other),) = found.errors.items()
    assert (key, type(other), str(other), other.exit_code) == (Path("b.jpg"), ImageError, str(error), 1)
    assert isinstance(other, DataError)


def test_what_is_not_data_is_refused() -> None:
    with pytest.raises(TypeError, match="a result holds set"):
        dumps({1})
    for text in ("{", '{"kind": "Part", "of": []}', '{"kind": "error", "of": ["reason", "a", 1]}', '{"a": 1}',
                 '{"kind": "error", "of": ["OutputError", "a", 1]}', '{"kind": "array", "of": ["|O", [1], ""]}'):  # fmt: skip
        with pytest.raises(ValueError, match=r"no result|an array|an error|Expecting"):
            loads(text)
