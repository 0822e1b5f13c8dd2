"""Trainings that end in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest

from vocseg.training import setup as train_setup


class Killed(BaseException):
    """As a signal that no handler sees."""


@contextmanager
def killed_at_batch(killed_at: int) -> Iterator[None]:
    """Kill the training in this block when it asks for the batch of this number, from 0 on."""
    original = train_setup.training_batches

    def cut_off(*arguments: Any) -> Iterator[Any]:
        for number, batch in enumerate(original(*arguments)):
            if number == killed_at:
                raise Killed
            yield batch

    with mock.patch.object(train_setup, "training_batches", cut_off), pytest.raises(Killed):
        yield
