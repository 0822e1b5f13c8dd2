"""Helpers of tests that run verbs in this process."""

from __future__ import annotations

from collections.abc import Callable

Run = Callable[..., tuple[int, str, str]]
"""The fixture ``run``: exit code, standard output and standard error of a verb."""

TRAIN = ["--model", "two_layer_net", "--crop", "16", "--batch-size", "2", "--epochs", "1", "--workers", "0"]
"""Options of a training run of a second."""


def fails(result: tuple[int, str, str], *parts: object) -> None:
    """Assert that a verb ended with exit code 2 and one line that contains ``parts``."""
    code, _, err = result
    assert code == 2, err
    assert err.startswith("vocseg: error: ")
    assert err.count("\n") == 1
    for part in parts:
        assert str(part) in err
