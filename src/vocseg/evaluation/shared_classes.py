"""Score the classes that a model and a data set both name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from vocseg import voc
from vocseg.errors import ModelError
from vocseg.models import ModelInfo
from vocseg.ops.low_res_logits import LowResLogits


class SharedClasses(NamedTuple):
    """The classes that a model and a data set both name: their names and labels in the data, and ids of the model."""

    names: tuple[str, ...]
    labels: list[int]
    ids: list[int]

    @classmethod
    def of(cls, predicted: Sequence[str], classes: Sequence[str]) -> SharedClasses:
        """Match names without regard to case, blanks, dashes and underscores; all names of the background are one."""
        ids = {_plain(name): label for label, name in reversed(list(enumerate(predicted)))}
        rows = [(name, label, ids[_plain(name)]) for label, name in enumerate(classes) if _plain(name) in ids]
        return cls(tuple(row[0] for row in rows), [row[1] for row in rows], [row[2] for row in rows])

    def logits(self, logits: LowResLogits) -> LowResLogits:
        """Return the logits of the shared classes."""
        return replace(logits, values=logits.values[:, self.ids])

    def scored(self, masks: Tensor) -> Tensor:
        """Return masks with positions among the shared classes, and void for all others."""
        table = torch.full((256,), voc.VOID, dtype=torch.uint8)
        table[self.labels] = torch.arange(len(self.labels), dtype=torch.uint8)
        return table[masks.long()]

    def labels_of(self, predictions: Tensor) -> Tensor:
        """Return predicted positions as labels of the data."""
        return torch.tensor(self.labels, dtype=torch.uint8, device=predictions.device)[predictions.long()]


def _plain(name: str) -> str:
    plain = re.sub(r"[\W_]+", "", name.casefold())
    return plain or name


def shared_classes(info: ModelInfo, classes: tuple[str, ...], where: str, match: bool) -> SharedClasses | None:
    """Return the shared classes, or None if all are; ModelError if the others may not be ignored, or nearly all are others."""
    shared = SharedClasses.of(info.classes, classes)
    try:
        info.check_classes(classes, where)
    except ModelError as error:
        if len(shared.names) < 2:
            raise
        if not match:
            raise ModelError(f"{error}; match_classes (--match-classes) scores the {len(shared.names)} that both name") from error
        return shared
    return None
