"""Helpers of tests that run verbs in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

import vocseg
from vocseg.data.layout import VocFolder
from vocseg.data.synthetic import write_synthetic
from vocseg.models import save_model

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


def data_and_model(folder: Path, train: int, val: int, size: tuple[int, int] = (40, 48)) -> Path:
    """Write a synthetic data set, ``data``, and a random model of its classes, ``m.safetensors``, to a folder."""
    write_synthetic(folder / "data", train=train, val=val, size=size)
    torch.manual_seed(0)
    save_model(folder / "m.safetensors", vocseg.create_model("simple_conv_net", VocFolder.find(folder / "data").classes))
    return folder
