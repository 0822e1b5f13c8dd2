"""One or several training processes, through accelerate."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from vocseg.errors import SettingError, TrainingError


def launched() -> int:
    """How many training processes the launcher started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


class Processes:
    """This process among those that ``accelerate launch`` or ``torchrun`` started; alone without them.

    Several on CPUs talk through gloo, on GPUs through NCCL.
    """

    def __init__(self, device: torch.device) -> None:
        from accelerate import Accelerator

        try:
            self.accelerator = Accelerator(
                cpu=device.type == "cpu",
                mixed_precision="no",  # autocast is vocseg.utils.system.autocast
            )
        except (RuntimeError, ValueError) as error:
            raise TrainingError(f"the training processes cannot find each other: {str(error).splitlines()[0]}") from error
        self.rank: int = self.accelerator.process_index
        self.count: int = self.accelerator.num_processes
        self.device = self.accelerator.device if device.type == "cuda" else device

    @property
    def main(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def share(self, images: int) -> int:
        """Images of a step that fall to each process; SettingError where they cannot be shared out."""
        if images % self.count:
            raise SettingError(f"batch_size {images} cannot be shared by {self.count} processes")
        return images // self.count

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network with gradients averaged over processes, and on GPUs batch normalization over all of them."""
        if self.count == 1:
            return network
        if self.device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return self.accelerator.prepare(network)

    def sum(self, values: Tensor) -> Tensor:
        """Sum over processes; TrainingError where another one is gone."""
        if self.count == 1:
            return values
        with self.watched():
            return self.accelerator.reduce(values, reduction="sum")

    def from_main(self, value: Any) -> Any:
        """The main process's value, in all of them."""
        if self.count == 1:
            return value
        from accelerate.utils import broadcast_object_list

        with self.watched():
            return broadcast_object_list([value])[0]

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process."""
        return bool(self.sum(torch.tensor(float(flag), device=self.device)))

    def watched(self) -> AbstractContextManager[None]:
        """Within the block the loss of another process becomes a TrainingError."""
        return _Watched(self.count)

    def without_sync(self, network: nn.Module) -> AbstractContextManager[Any]:
        """Within the block gradients stay local: for all parts of an accumulated batch but the last."""
        return self.accelerator.no_sync(network)

    def end(self) -> None:
        """Leave the others in order."""
        if self.count > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


class _Watched(AbstractContextManager[None]):
    def __init__(self, count: int) -> None:
        self.count = count

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        words = ("Connection closed", "Connection reset", "gloo", "NCCL", "Broken pipe", "timed out")
        if self.count > 1 and isinstance(error, RuntimeError) and any(word in str(error) for word in words):
            raise TrainingError("another training process has ended; go on with --resume") from error
