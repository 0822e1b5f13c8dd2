"""Segment and score on the nodes of a Ray cluster: read, batches in actors, write, with Ray Data's checkpoints by image."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from vocseg.errors import InputError, SettingError, VocsegError, reason, shown
from vocseg.evaluation.record import CountedImage
from vocseg.evaluation.remote import Scored
from vocseg.evaluation.result import Evaluation
from vocseg.inference.predictions import Prediction, Predictions
from vocseg.inference.remote import Part
from vocseg.utils.arguments import checked
from vocseg.utils.cluster import Cluster, Work, Worker, check_listens
from vocseg.utils.plain import dumps, loads
from vocseg.utils.stand_ins import url_of
from vocseg.utils.system import cores
from vocseg.utils.telemetry import quiet_ray
from vocseg.utils.temporary import temporary_beside

try:
    import pyarrow as pa
    import ray
    from ray import cloudpickle
    from ray.data import ActorPoolStrategy, DataContext, Datasource, ReadTask, read_datasource
    from ray.data.block import BlockMetadata
    from ray.data.checkpoint import CheckpointConfig

    from vocseg.utils.tables import NoneDone, Tables
except ImportError as error:
    raise SettingError("Ray Data is not installed; pip install 'vocseg[ray]'") from error

log = logging.getLogger("vocseg.ray")

LOCAL = "local"
BLOCK, GPU_BLOCK = 128, 256
"""Most images of a call of an actor, without and with a GPU: what a node that dies has to do again."""
ACTORS_A_WRITER = 16
LOCAL_CONFIG = {"idle_worker_killing_time_threshold_ms": 600_000, "worker_niceness": 0}
"""Of a local cluster: Ray otherwise ends a process that writes results after an idle second, so that each block costs the
start of one, and lets other programs go before its own."""
SHORT_FOLDER = Path("/tmp" if Path("/tmp").is_dir() else tempfile.gettempdir())
"""For the sockets of a local cluster, whose paths have at most 107 characters."""
CHECKPOINTS, RESULTS = "checkpoints", "results"
"""What is in the folder of a call that is not finished: ids that are finished, and their results."""
ID, VALUE = "id", "value"
CLASSES = (Part, Prediction, Scored, CountedImage)
"""Of results."""


@checked
def predict(source: Any, out: str | Path = "predictions", *, address: str = LOCAL, actors: int | None = None,
            **options: Any) -> Predictions:  # fmt: skip
    """Segment images on a Ray cluster; the files and the result are those of :func:`vocseg.predict`.

    ``source``, ``out`` and ``options`` are its arguments; ``shard`` and ``watch`` make no sense here. ``address``: of a
    cluster, or ``local``, processes of this machine. ``actors``: how many processes segment; by default one for each GPU, or
    if there is none or it is not wanted, for each CPU. All nodes see the images, the model and ``out`` at the same paths or URLs.

    A node that dies costs the images in its hands. A call that ends early is continued by the next one with the same
    settings; images and masks that have changed since are done again. Raises InputError if there is no such cluster.
    """
    from vocseg.inference.predict import predict as run  # actors, which import this module, do not need it

    return run(source, out, cluster=RayCluster(address, actors), **options)


@checked
def evaluate(model: Any, data: str | Path, split: str = "val", *, address: str = LOCAL, actors: int | None = None,
             **options: Any) -> Evaluation:  # fmt: skip
    """Score a model on a split on a Ray cluster; the scores and counts are those of :func:`vocseg.evaluate`.

    ``options`` are its arguments, except ``shard`` and ``fit_temperature``; ``address`` and ``actors`` are those of
    :func:`predict`. With ``out``, a call that ends early is continued by the next one with the same settings.
    """
    from vocseg.evaluation.evaluate import evaluate as run

    return run(model, data, split, cluster=RayCluster(address, actors), **options)


class RayCluster(Cluster):
    """A Ray cluster at an address, or ``local``; ``actors``: see :func:`predict`."""

    def __init__(self, address: str = LOCAL, actors: int | None = None) -> None:
        if actors is not None and actors < 1:
            raise SettingError(f"actors is {actors}, not a positive number")
        self.address, self.actors = address, actors

    def map(self, work: Work, images: Mapping[str, Any], state: Path | None, title: str | None) -> dict[str, Any]:
        if not images:
            return {}
        with _connected(self.address), _quiet(title) as context:
            if state is None:
                return _loaded(pa.concat_tables(self._results(work, images).iter_batches(batch_format="pyarrow")))
            kept, done = self._prepare(work, images, state)
            if left := {name: value for name, value in images.items() if name not in done}:
                context.checkpoint_config = CheckpointConfig(
                    ID, f"{kept.folder}/{CHECKPOINTS}", override_filesystem=kept.files, delete_checkpoint_on_success=False,
                    checkpoint_manager_cls=NoneDone,
                )  # fmt: skip
                writers = 1 + self._size(work)[0] // ACTORS_A_WRITER
                self._results(work, left).write_parquet(
                    f"{kept.folder}/{RESULTS}", filesystem=kept.files, ray_remote_args={"num_cpus": 0}, concurrency=writers
                )
        return self.finished(state)

    def finished(self, state: Path) -> dict[str, Any]:
        kept, found = Tables(state), dict[str, Any]()
        done = _ids(kept)
        for table in kept.tables(RESULTS):
            with suppress(ValueError):  # not written by this version
                found |= {name: value for name, value in _loaded(table).items() if name in done}
        return found

    def forget(self, state: Path) -> None:
        Tables(state).forget()

    def _prepare(self, work: Work, images: Mapping[str, Any], state: Path) -> tuple[Tables, set[str]]:
        """Return what an earlier call left, and the ids in it; it is deleted unless it is of the same work and still there."""
        if str(url_of(state)).startswith("memory:"):
            raise SettingError(
                f"each process of a cluster has a memory:// of its own; write to a disk or a store, not to {shown(state.parent)}"
            )
        kept = Tables(state)
        if kept.about() == {"about": work.about}:
            kept.settle(CHECKPOINTS, RESULTS)
            done, found = _ids(kept), self.finished(state)
            if done == found.keys() and all(work.is_kept(found[name]) for name in found.keys() & images.keys()):
                return kept, done
        kept.begin({"about": work.about})
        return kept, set()

    def _size(self, work: Work) -> tuple[int, int]:
        """Return how many actors there are, and how many GPUs each has."""
        found = ray.cluster_resources()
        gpus = int(found.get("GPU", 0)) if work.uses_gpu else 0
        return self.actors or gpus or max(1, int(found.get("CPU", 1))), min(1, gpus)

    def _results(self, work: Work, images: Mapping[str, Any]) -> Any:
        """Return the data set of the results."""
        actors, gpus = self._size(work)
        most = GPU_BLOCK if gpus else BLOCK
        size = max(1, min(most, -(-len(images) // (4 * actors))))
        blocks = _Images([*images.items()], size)
        # Reading and writing rows takes little; more tasks at once would be a process each.
        readers = 1 + actors // ACTORS_A_WRITER
        rows = read_datasource(blocks, num_cpus=0, concurrency=readers, override_num_blocks=-(-len(images) // size))
        pool = ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors)
        return rows.map_batches(
            _Actor, fn_constructor_args=(work,), batch_size=size if gpus else None, batch_format="pyarrow", compute=pool,
            num_cpus=1, num_gpus=gpus,
        )  # fmt: skip


class _Images(Datasource):  # type: ignore[misc]
    """Rows of an id and a pickled value, in blocks."""

    def __init__(self, rows: Sequence[tuple[str, Any]], size: int) -> None:
        self._rows, self._size = rows, size

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(self, parallelism: int, *arguments: Any, **options: Any) -> list[ReadTask]:
        blocks = (self._rows[first : first + self._size] for first in range(0, len(self._rows), self._size))
        tables = [_table(*zip(*block, strict=True)) for block in blocks]
        # A function without a name is sent as it is, so that its process need not import vocseg.
        return [ReadTask(lambda table=table: [table], BlockMetadata(len(table), None, None, None)) for table in tables]


class _Actor:
    """Works on blocks of rows in a process of its own."""

    def __init__(self, work: Work) -> None:
        self._start: Callable[[], Worker] = work.start
        self._classes = CLASSES
        self._worker: Worker | None = None

    def __call__(self, rows: pa.Table) -> pa.Table:
        if self._worker is None:  # not in __init__, whose errors Ray takes for those of the machine
            self._worker = self._start()
        results = self._worker([pickle.loads(value) for value in rows[VALUE].to_pylist()])
        plain = pa.array([dumps(result, self._classes) for result in results], pa.string())  # others may write where it is kept
        return pa.table({ID: rows[ID], VALUE: plain})


def _table(names: Sequence[str], values: Sequence[Any]) -> pa.Table:
    pickled = [cloudpickle.dumps(value) for value in values]
    return pa.table({ID: pa.array(names, pa.string()), VALUE: pa.array(pickled, pa.binary())})


def _loaded(table: pa.Table) -> dict[str, Any]:
    return {name: loads(value, CLASSES) for name, value in zip(table[ID].to_pylist(), table[VALUE].to_pylist(), strict=True)}


def _ids(kept: Tables) -> set[str]:
    """Return the ids that are finished."""
    return {name for table in kept.tables(CHECKPOINTS) for name in table[ID].to_pylist()}


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Connect to a cluster, or start a local one, unless the program has; errors of actors become those of vocseg."""
    try:
        with quiet_ray(), ExitStack() as closing:
            if not ray.is_initialized():
                closing.callback((folder := ExitStack()).close)  # which sees no errors
                _start(address, str(folder.enter_context(temporary_beside(SHORT_FOLDER / "vocseg-ray", is_folder=True))))
                closing.callback(ray.shutdown)
                closing.enter_context(_messages())
            yield
    except Exception as error:
        raise _own_error(error) from error


def _start(address: str, folder: str) -> None:
    local: dict[str, Any] = {"num_cpus": cores(), "include_dashboard": False, "_temp_dir": folder, "_node_ip_address": "127.0.0.1"}
    local["_system_config"] = LOCAL_CONFIG
    handler = signal.getsignal(signal.SIGTERM)
    try:
        check_listens(address)
        with _without_stderr():
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **(local if address == LOCAL else {}))
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        raise InputError(f"cannot use the Ray cluster at {address}: {reason(error)}; name HOST:PORT, or {LOCAL}") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray replaces it


@contextmanager
def _messages() -> Iterator[None]:
    """Log that a node died, and pass over what else Ray prints about it."""

    def note(message: Mapping[str, Any], **options: Any) -> None:
        if any("marked dead" in line for line in message["lines"]):
            log.info("a node of the Ray cluster died; others do its images")

    module: Any = sys.modules["ray._private.worker"]
    before, module.print_to_stdstream = getattr(module, "print_to_stdstream", None), note
    try:
        yield
    finally:
        module.print_to_stdstream = before


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Drop what is written to standard error in the block: Ray's C++ says there that it will say nothing."""
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def _own_error(error: BaseException) -> VocsegError:
    """Return the error of vocseg that ended an actor's work, or one that says what Ray says."""
    cause: BaseException | None = error
    while cause is not None:
        cause = getattr(cause, "cause", None) or cause
        if isinstance(cause, VocsegError):
            return cause
        cause = cause.__cause__
    return VocsegError(f"Ray: {type(error).__name__}: {reason(error)}; start again: finished images are kept")


@contextmanager
def _quiet(title: str | None) -> Iterator[DataContext]:
    """Yield the settings of data sets made in the block: no messages, and a progress bar only on a terminal."""
    context = DataContext.get_current().copy()
    context.enable_progress_bars = title is not None and sys.stderr.isatty()
    context.print_on_execution_start = False
    context.raise_original_map_exception = True  # pickled in another, it would be lost
    handlers = logging.getLogger("ray.data").handlers
    levels = [handler.level for handler in handlers]
    with DataContext.current(context):
        for handler in handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setLevel(logging.CRITICAL + 1)
        try:
            yield context
        finally:
            for handler, level in zip(handlers, levels, strict=True):
                handler.setLevel(level)
