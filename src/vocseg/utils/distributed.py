"""One or several processes, through accelerate."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vocseg.errors import TrainingError, VocsegError

T = TypeVar("T")

CONNECTION_ERRORS = ("Connection closed", "Connection reset", "gloo", "NCCL", "Broken pipe", "timed out")
"""Parts of the messages of torch's RuntimeErrors when another process has ended."""


def world_size() -> int:
    """Return how many processes the launcher started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


class Processes:
    """This process and the others that ``accelerate launch`` or ``torchrun`` started, if any.

    Create it before anything is put on a GPU: it chooses this process's GPU. Processes communicate through gloo on CPUs
    and through NCCL on GPUs. Raises ``error``, a TrainingError by default, if they cannot connect, or if another has ended,
    with ``ended`` as its text. ``patience``: how long :meth:`wait` waits while all are alive.
    """

    def __init__(
        self, device: torch.device, ended: str = "another training process has ended; continue with --resume",
        error: type[VocsegError] = TrainingError, patience: timedelta | None = None,
    ) -> None:  # fmt: skip
        self.rank, self.count, self.device = 0, world_size(), device
        self.ended, self.error = ended, error
        if self.count > 1:
            from accelerate import PartialState

            try:
                state = PartialState(cpu=device.type == "cpu")
                self._group: Any = None if patience is None else torch.distributed.new_group(timeout=patience, backend="gloo")
                state.wait_for_everyone()  # one with an error of its own would end while another connects to it
            except (RuntimeError, ValueError) as failure:
                raise error(f"the processes cannot connect: {str(failure).splitlines()[0]}") from failure
            self.rank, self.count = state.process_index, state.num_processes
            self.device = state.device if device.type == "cuda" else device

    @property
    def main(self) -> bool:
        """Whether this process writes the run folder."""
        return self.rank == 0

    @property
    def shard(self) -> tuple[int, int]:
        """This process's number, and how many there are."""
        return self.rank, self.count

    def wrap(self, network: nn.Module, find_unused: bool = False) -> nn.Module:
        """Average gradients over processes and, on GPUs, batch norm statistics.

        ``find_unused``: the network has parameters that get no gradient, which costs a search in each step.
        """
        if self.count == 1:
            return network
        if self.device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(network, device_ids=devices, find_unused_parameters=find_unused)

    def sum(self, values: Tensor) -> Tensor:
        """Sum over processes; an error if another process has ended."""
        if self.count == 1:
            return values
        from accelerate.utils import reduce

        with self.translate_errors():
            return reduce(values, reduction="sum")

    def wait(self) -> None:
        """Wait until all processes have come here; an error at once if another has ended."""
        if self.count > 1:
            with self.translate_errors():
                torch.distributed.all_reduce(torch.zeros(1), group=self._group)

    def any(self, *flags: bool) -> list[bool]:
        """Tell for each flag whether it is set in any process."""
        return [bool(value) for value in self.sum(torch.tensor(flags, dtype=torch.float32, device=self.device)).tolist()]

    def from_main(self, function: Callable[[], T]) -> T:
        """Call ``function`` in the main process only; return its result, or raise its VocsegError, in all processes."""
        if self.count == 1:
            return function()
        from accelerate.utils import broadcast_object_list

        outcome: list[Any] = [None]
        if self.main:
            try:
                outcome = [function()]
            except VocsegError as error:
                outcome = [error]
        with self.translate_errors():
            (result,) = broadcast_object_list(outcome)
        if isinstance(result, VocsegError):
            raise result
        return result

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Within the block, raise an error that tells the user if another process has ended."""
        try:
            yield
        except RuntimeError as error:
            if self.count > 1 and any(words in str(error) for words in CONNECTION_ERRORS):
                raise self.error(self.ended) from error
            raise

    def no_sync(self, network: nn.Module, enabled: bool = True) -> AbstractContextManager[Any]:
        """Within the block, keep gradients local: for all micro-batches of a step except the last."""
        return network.no_sync() if enabled and isinstance(network, DistributedDataParallel) else nullcontext()

    def end(self) -> None:
        """Leave the process group."""
        if self.count > 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
