"""A training step of vocseg, and of torchvision's reference script."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from vocseg import voc
from vocseg.bench.harness import Case, Runner, beside_ours
from vocseg.data.dataset import Batch
from vocseg.errors import ModelError, SettingError, nearest
from vocseg.models import SegmentationModel, create_model
from vocseg.training.config import TrainConfig
from vocseg.training.loop import TrainState, train_step
from vocseg.training.losses import Criterion
from vocseg.utils.distributed import Processes
from vocseg.utils.system import autocast, find_device

PEERS = {"torchvision": "float32", "autocast": "bfloat16"}
"""Peer -> precision."""

AUX_WEIGHT = 0.5
"""Of torchvision's reference script (references/segmentation/train.py)."""


class Task(NamedTuple):
    """A step of which model, on how many crops of which side, and where."""

    model: str
    weights: str | None
    batch_size: int
    crop: int
    device: str = "auto"

    def build(self) -> SegmentationModel:
        """Build a new model in training mode on the device."""
        torch.manual_seed(0)
        return create_model(self.model, weights=self.weights).train().to(find_device(self.device))

    def batch(self, classes: int) -> tuple[Tensor, Tensor]:
        """Make noise (uint8, N x 3 x crop x crop), and masks of class blobs with some void (uint8, N x crop x crop)."""
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (self.batch_size, 3, self.crop, self.crop), dtype=torch.uint8, generator=generator)
        cells = torch.randint(0, classes, (self.batch_size, 1, 8, 8), generator=generator).float()
        masks = torch.nn.functional.interpolate(cells, self.crop, mode="nearest")[:, 0].to(torch.uint8)
        masks[:, ::16] = voc.VOID
        return images.to(find_device(self.device)), masks.to(find_device(self.device))


def cases(task: Task, peers: Sequence[str], precision: str = "auto") -> list[Case]:
    """Return our case and then the peers': torchvision's reference script in float32 and in bfloat16 autocast.

    With precision ``auto``, ours also in the other precision if a peer has it. Raises ModelError for an unknown
    peer or a model that cannot take the step, SettingError for a batch or crop that is not positive.
    """
    if task.batch_size < 1 or task.crop < 1:
        raise SettingError(f"batch size {task.batch_size} and crop {task.crop} must be 1 or more")
    for peer in peers:
        if peer not in PEERS:
            raise ModelError(f"unknown peer '{peer}' of a training step{nearest(peer, [*PEERS])}: there are {', '.join(PEERS)}")
    others = [Case(peer, name, partial(_plain, task, name)) for peer, name in PEERS.items() if peer in peers]
    return beside_ours(partial(_ours, task), precision, task.device, others)


def _ours(task: Task, precision: str) -> Runner:
    model = task.build()
    images, masks = task.batch(len(model.info.classes))
    state = TrainState(model, TrainConfig(), Processes(find_device(task.device)), precision=getattr(torch, precision))
    batch = Batch(images, masks, ["noise"] * len(images))
    return lambda: train_step(state, batch, Criterion()).loss.item()


def _plain(task: Task, precision: str) -> Runner:
    model = task.build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    images, masks = task.batch(len(model.info.classes))
    device = find_device(task.device)

    def step() -> float:
        with autocast(device, getattr(torch, precision)):
            outputs = model(images)
            target = masks.long()
            losses = {name: cross_entropy(logits, target, ignore_index=voc.VOID) for name, logits in outputs.items()}
            total = losses["out"] + AUX_WEIGHT * losses["aux"] if "aux" in losses else losses["out"]
        optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return losses["out"].item()

    return step
