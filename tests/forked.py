"""The command line in a process forked from one that has imported everything: a new interpreter takes seconds to start."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
USED = ("vocseg.cli.main", "vocseg.training.api", "vocseg.evaluation.table", "vocseg.inference.predict")
CONTEXT.set_forkserver_preload([*USED, "accelerate", "torchvision.models.segmentation", "matplotlib.figure"])


def _run(arguments: list[str], environment: Mapping[str, str], log: str, often: bool, own_group: bool) -> None:
    os.environ.clear()
    os.environ.update(environment)
    if own_group:
        os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    import torch

    import vocseg.training.loop as loop
    from vocseg.cli.main import main

    torch.set_num_threads(1)
    if often:
        loop.CHECKPOINT_SECONDS = 0.0
    main(arguments)


@cache
def logs() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that is deleted when the tests end: nobody may ask for the output of a killed process."""
    return tempfile.TemporaryDirectory(prefix="vocseg_forked_")


class Forked:
    """A running command line, with the methods of subprocess.Popen that tests use; ``often``: a checkpoint each step.

    It has the test's variables of the environment, not those of the time when the first was started.
    """

    def __init__(
        self, arguments: list[str], environment: Mapping[str, str] = {}, often: bool = False, own_group: bool = False
    ) -> None:  # fmt: skip
        handle, self.log = tempfile.mkstemp(dir=logs().name)
        os.close(handle)
        arguments = [str(argument) for argument in arguments]
        self.process = CONTEXT.Process(target=_run, args=(arguments, os.environ | environment, self.log, often, own_group))
        self.process.start()
        self.pid = self.process.pid or 0

    def poll(self) -> int | None:
        return self.process.exitcode

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Wait for the end and return the output; kill the process and fail after ``timeout`` seconds."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(Path(self.log).read_text(encoding="utf-8"))
        text = Path(self.log).read_text(encoding="utf-8") if os.path.exists(self.log) else ""
        Path(self.log).unlink(missing_ok=True)
        return text, None
