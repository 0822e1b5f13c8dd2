"""Arguments checked against annotations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

import vocseg
from vocseg.errors import SettingError
from vocseg.utils.arguments import checked, fits, in_words


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        (int, [0, -3, np.int64(4)], [True, 1.0, "1", None]),
        (float, [0, 0.5, np.float32(1)], [False, "0.5"]),
        (bool, [True, False], [0, 1, "yes"]),
        (str | Path, ["", Path("x")], [b"x", 5, ["x"]]),
        (int | None, [None, 3], ["3"]),
        (Literal["a", "b"], ["a"], ["c", None, 1, ["a"]]),
        (Sequence[str], [[], ["a"], ("a", "b")], ["ab", [1], ["a", None], 5, Path("a")]),
        (tuple[int, int], [(1, 2), [3, 4]], [(1,), (1, 2, 3), ("1", 2), "12", 5]),
        (tuple[float, ...], [(), (1, 2.5)], [("a",), 3]),
        (Mapping[str, int], [{}, {"a": 1}], [[], "a"]),
        (Callable[[int], int], [abs, lambda x: x], [5, "abs"]),
        (torch.nn.Module, [torch.nn.ReLU()], [torch.nn.ReLU, "relu"]),
        (Any, [None, object()], []),
    ],
)
def test_values_of_each_kind(kind: Any, right: list[object], wrong: list[object]) -> None:
    assert [value for value in right if not fits(value, kind)] == []
    assert [value for value in wrong if fits(value, kind)] == []


def test_kinds_in_words() -> None:
    kinds = (str | Path | None, Sequence[str], tuple[int, int], tuple[float, ...], Callable[[int], int], torch.dtype | str)
    assert [in_words(kind) for kind in kinds] == [
        "a string or a path", "a list, each a string", "2 values, each an integer", "a sequence of a number", "a function",
        "a dtype or a string",
    ]  # fmt: skip


def test_only_what_is_given_is_checked_and_other_values_of_functions_are_not() -> None:
    @checked
    def take(first: int, *rest: int, limit: float = 1.0, **more: str) -> tuple[object, ...]:
        return first, rest, limit, more

    assert take(1, "a", x=5) == (1, ("a",), 1.0, {"x": 5})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="missing a required argument: 'first'"):
        take()  # type: ignore[call-arg]


CALLS: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], str]] = [
    (vocseg.evaluate, ("vocseg-s", "data"), {"batch_size": "4"}, "evaluate: batch_size must be an integer, not '4'"),
    (vocseg.evaluate, (5, "data"), {}, "evaluate: model must be a string or a path or a Module or a Segmenter, not 5"),
    (vocseg.score, (None, "data"), {}, "score: masks must be a string or a path, not None"),
    (vocseg.score, ("m", "data", 5), {}, "score: split must be a string, not 5"),
    (vocseg.predict, (5,), {}, "predict: images must be a string or a path or an Item or a list"),
    (vocseg.predict, ("x.jpg",), {"opacity": "half"}, "predict: opacity must be a number, not 'half'"),
    (vocseg.convert, (5, "out"), {}, "convert: source must be"),
    (vocseg.convert, ("in", "out"), {"to": "cocco"}, "or 'yolo' or 'labelme', not 'cocco'; did you mean 'coco'?"),
    (vocseg.examine, (None,), {}, "examine: data must be a string or a path, not None"),
    (vocseg.examine, ("data",), {"splits": "val"}, "examine: splits must be a list, each a string, not 'val'"),
    (vocseg.download, (5,), {}, "download: folder must be a string or a path, not 5"),
    (vocseg.download, ("data",), {"year": 2012}, "download: year must be a string, not 2012"),
    (vocseg.export, ("vocseg-s",), {"size": 513}, "export: size must be 2 values, each an integer, not 513"),
    (vocseg.compare, ("a", "b"), {"seed": "x"}, "compare: seed must be an integer, not 'x'"),
    (vocseg.list_models, (5,), {}, "list_models: pattern must be a string, not 5"),
    (vocseg.create_model, (torch.nn.ReLU(),), {}, "create_model: model must be a string or a path, not ReLU"),
    (vocseg.ConfusionMatrix, (None,), {}, "ConfusionMatrix: classes must be a list, each a string or an integer, not None"),
    (vocseg.VOCDataset, (5,), {}, "VOCDataset: root must be a string or a path, not 5"),
    (vocseg.Segmenter, (), {"exact": "no"}, "Segmenter: exact must be true or false, not 'no'"),
    (vocseg.train, ("data",), {"callbacks": 5}, "train: callbacks must be a list, not 5"),
    (vocseg.set_max_pixels, ("many",), {}, "set_max_pixels: pixels must be an integer, not 'many'"),
]


@pytest.mark.parametrize(("function", "args", "options", "message"), CALLS)
def test_arguments_of_a_wrong_kind_are_one_line(
    function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingError) as caught:
        function(*args, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_public_function_is_checked() -> None:
    unchecked = {"register_model", "tune_process"}  # a decorator with its own check; no arguments
    functions = {name for name in vocseg.__all__ if callable(getattr(vocseg, name)) and not isinstance(getattr(vocseg, name), type)}
    assert {name for name in functions if not hasattr(getattr(vocseg, name), "__wrapped__")} == unchecked
