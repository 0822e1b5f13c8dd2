"""Verbs in shards, by ``--shard``, or in the processes of a launcher, of which each takes one."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from vocseg.cli.console import say_shard
from vocseg.errors import SettingError, VocsegError
from vocseg.utils.cluster import Cluster
from vocseg.utils.shards import Shard
from vocseg.utils.urls import below

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
J = TypeVar("J", bound=str | Path)
PATIENCE = timedelta(days=1)
"""How long processes wait for each other while all are alive: shards take different times."""
ENDED = "another process has ended; start all again: shards that are finished are kept"


def find_shard(text: str | None, out: str | Path | None) -> Shard | None:
    """Return the shard of ``--shard``, or of this process of torchrun or accelerate; their results need a folder."""
    count, rank = os.environ.get("WORLD_SIZE", "1"), os.environ.get("RANK")
    what = f"--shard {text}"
    if text is None and rank is not None and count != "1":
        text, what = f"{int(rank) + 1}/{count}", f"a run in {count} processes"
    if text is None:
        return None
    shard = Shard.parse(text)
    if rank is not None and count != "1" and str(shard) != f"{int(rank) + 1}/{count}":
        raise SettingError(f"{what} in a run in {count} processes, each of which takes a shard: leave out --shard")
    if out is None:
        raise SettingError(f"{what} needs --out, the folder for the results of all shards")
    return shard


def check_conventions(conventions: bool, part: Shard | None) -> None:
    """Raise SettingError if the conventions of other tools are to be printed of a shard."""
    if conventions and part is not None:
        raise SettingError("--conventions needs all images, not a shard; `vocseg merge` writes them to scores.json")


def ray_cluster(address: str | None, actors: int | None) -> Cluster | None:
    """Return the cluster of ``--ray``, if that is given."""
    if address is None:
        if actors is not None:
            raise SettingError("--actors needs --ray")
        return None
    from vocseg.ray import RayCluster

    return RayCluster(address, actors)


def run_sharded(
    run: Callable[[str | torch.device, J | None], T], images: Callable[[T], int], text: str | None,
    out: str | Path | None, device: str = "cpu", json: J | None = None,
) -> T | None:  # fmt: skip
    """Call ``run`` with a device and a JSON file, and return its result; of a shard, say where it is, and return None.

    ``text``: of ``--shard``. The processes of a launcher wait for each other, and the first merges their shards.
    """
    part = find_shard(text, out)
    if part is None or out is None:
        return run(device, json)
    if text is not None:
        say_shard(part, out, images(run(device, json)))
        return None
    from vocseg.cli.merge import merge
    from vocseg.utils.distributed import Processes
    from vocseg.utils.system import find_device

    processes = Processes(find_device(device), ENDED, VocsegError, PATIENCE)
    try:
        run(processes.device, None)
        processes.wait()
        if processes.main:
            merge([below(out, Shard(number, part.total).name) for number in range(1, part.total + 1)], out=out, json=json)
    finally:
        processes.end()
    return None
