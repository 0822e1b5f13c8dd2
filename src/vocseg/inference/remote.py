"""A network, and calls of ``predict``, in processes of a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from vocseg.errors import STAND_INS, DataError, SettingError
from vocseg.inference.formats import open_sinks
from vocseg.inference.options import CPU_ENGINES
from vocseg.inference.polygons import Polygons
from vocseg.inference.predictions import Prediction
from vocseg.inference.run import Run
from vocseg.inference.segmenter import Segmenter, as_segmenter
from vocseg.inference.shards import named_model
from vocseg.inference.sinks import CollectingSink, Sink, closing_sinks
from vocseg.inference.sources import Item
from vocseg.models import ModelInfo
from vocseg.utils.cluster import Cluster, Work, Worker
from vocseg.utils.shards import digest, named_file
from vocseg.utils.staging import is_there, stage, staging_of, wait
from vocseg.utils.stand_ins import published, url_of
from vocseg.utils.system import max_pixels, set_max_pixels, tune_process
from vocseg.utils.temporary import sweep
from vocseg.utils.user_code import import_user_code, imported_user_code

STATE = ".ray"
"""Folder in the output folder for what is finished, until all is."""


@dataclass(frozen=True)
class RemoteNetwork:
    """How to make a Segmenter in another process, as it would be made in this one; ``options``: of :class:`Segmenter`."""

    model: Any
    options: dict[str, Any]
    folder: str = field(default_factory=os.getcwd)
    code: tuple[str, ...] = field(default_factory=imported_user_code)
    pixels: int = field(default_factory=max_pixels)
    stand_ins: dict[str, str] = field(default_factory=STAND_INS.copy, repr=False)

    def described(self) -> Segmenter:
        """Return a Segmenter that says in this process, which may have another device, what the model predicts."""
        if isinstance(self.model, Segmenter):
            raise SettingError("a Segmenter stays in its process; on a cluster, name the model, its file or the nn.Module")
        named = {name: value for name, value in self.options.items() if name not in ("precision", "engine", "exact")}
        return as_segmenter(self.model, **named | {"device": "cpu"})

    @property
    def uses_gpu(self) -> bool:
        """Whether the network runs on a GPU where there is one."""
        return str(self.options["device"]) != "cpu" and self.options["engine"] not in CPU_ENGINES

    def about(self, segmenter: Segmenter) -> list[object]:
        """Return what the masks depend on; ``segmenter``: as :meth:`described` returns."""
        from vocseg import __version__

        weights = self.options["weights"]
        named = self.options | {"weights": None if weights is None else named_file(weights)}
        return [__version__, named_model(self.model, segmenter), *named.items(), self.code, self.pixels]

    def segmenter(self) -> Segmenter:
        """Make the Segmenter; the process takes the first one's folder, limits, archives at URLs and user code."""
        os.chdir(self.folder)
        STAND_INS.update(self.stand_ins)
        tune_process()
        set_max_pixels(self.pixels)
        for target in self.code:
            import_user_code(target)
        return as_segmenter(self.model, **self.options)


class Part(NamedTuple):
    """What became of an image of a source, which may have pages or frames; ``entries``: of each file that images share.

    The first image of a block has also ``existing`` and ``lost``, by simplification, of the whole block.
    """

    rows: list[Prediction]
    errors: dict[Any, DataError]
    entries: list[list[Any]]
    existing: int = 0
    lost: Any = None


@dataclass(frozen=True)
class PredictWork(Work):
    """Segment images and write their files; what images share is returned.

    An image comes with the names and sizes of the files that were at its outputs, if these are at a URL.
    """

    network: RemoteNetwork
    kinds: Sequence[type[Sink]]
    out: Path
    info: ModelInfo
    opacity: float
    simplify: float
    run: dict[str, Any]
    """Arguments of :class:`Run`."""
    about: str
    url: str | None
    """Of ``out``, a path of the first process."""

    @property
    def uses_gpu(self) -> bool:  # type: ignore[override]
        return self.network.uses_gpu

    def start(self) -> Worker:
        segmenter = self.network.segmenter()
        return partial(self._segment, segmenter, self.out if self.url is None else stage(self.url))

    def is_kept(self, result: Part) -> bool:
        files = (file for row in result.rows for file in (row.mask, row.overlay, *row.files))
        top = f"{published(self.out)}/"
        return all(file is None or is_there(self.out / str(file).removeprefix(top)) for file in files)

    def _segment(self, segmenter: Segmenter, out: Path, images: Sequence[tuple[Item, dict[str, int]]]) -> list[Part]:
        items = [item for item, _ in images]
        if staging := staging_of(out):
            staging.listing = {name: size for _, known in images for name, size in known.items()}
        polygons = Polygons(self.info, self.simplify)
        sinks = open_sinks(self.kinds, out, self.info, self.opacity, polygons)
        collecting = [sink for sink in sinks if isinstance(sink, CollectingSink)]
        for sink in collecting:
            sink.entries_only = True
        run = Run(segmenter, self.info, sinks, {}, **self.run)
        with closing_sinks(sinks):
            run.predict(items, None)
            entries = [sink.entries() for sink in collecting]
        wait(out)
        parts = {item.place: Part([], {}, [[] for _ in collecting]) for item in items}
        for place, row in zip(run.places, run.rows, strict=True):
            parts[place].rows.append(row)
        for key, error in run.errors.items():
            parts[_place(key, items)].errors[key] = error
        for number, found in enumerate(entries):
            for place, entry in found:
                parts[place].entries[number].append(entry)
        first, *others = parts.values()
        return [first._replace(existing=run.existing, lost=polygons.simplifier.counts), *others]


def _place(key: Any, items: Sequence[Item]) -> int:
    """Return the place of the image with this key, or of the one that a page or frame with this key is in."""
    text = str(key)
    found = (item.place for item in items if str(item.key) in (text, text.rpartition("/")[0]))
    return next(found, items[0].place)


class ClusterRun(Run):
    """A call of ``predict`` whose images are segmented on a cluster, and whose shared files are written here."""

    def __init__(self, cluster: Cluster, network: RemoteNetwork, kinds: Sequence[type[Sink]], out: Path, opacity: float,
                 polygons: Polygons, *arguments: Any) -> None:  # fmt: skip
        super().__init__(*arguments)
        self._cluster, self._network, self._kinds, self._out, self._opacity = cluster, network, kinds, out, opacity
        self._polygons, self.state = polygons, out / STATE

    def predict(self, items: Sequence[Item], title: str | None, log_each: bool = False) -> None:
        run = {"options": self.options, "skip_existing": self.skip_existing, "tile": self.tile, "overlap": self.overlap}
        simplify, names = self._polygons.simplify, [kind.__qualname__ for kind in self._kinds]
        about = [*self._network.about(self.segmenter), *run.items(), names, self._opacity, simplify, self.info, self.total]
        work = PredictWork(self._network, self._kinds, self._out, self.info, self._opacity, simplify,
                           run | {"total": self.total}, digest(about), url_of(self._out))  # fmt: skip
        ids, known = {_id(item): item for item in items}, self._known(items)
        try:
            images = {name: (item, known.get(item.output, {})) for name, item in ids.items()}
            parts = self._cluster.map(work, images, self.state, title)
        except BaseException:
            self._add(self._cluster.finished(self.state), ids)
            for folder in {file.parent for item in items for file in self._files(item).values()}:
                if folder.is_dir():
                    sweep(folder)  # after processes that were ended
            raise
        self._add(parts, ids)

    def forget(self) -> None:
        """Delete what was kept for a call that would continue this one."""
        wait(self._out)
        self._cluster.forget(self.state)

    def _known(self, items: Sequence[Item]) -> dict[Path | None, dict[str, int]]:
        """Return by output the names and sizes of the files that were at the URL of the outputs."""
        staging, found = staging_of(self._out), dict[Path | None, dict[str, int]]()
        if staging is None or not staging.listing:
            return found
        owners = {kind.path(self._out, item): item.output for item in items for kind in self._kinds if kind.suffix}
        owners |= {self._out / kind.folder / str(item.output): item.output for item in items for kind in self._kinds}
        for name, size in staging.listing.items():
            file = self._out / name
            for path in (file, *file.parents):  # pages and frames are in a folder
                if path in owners:
                    found.setdefault(owners[path], {})[name] = size
        return found

    def _add(self, parts: dict[str, Part], ids: Iterable[str]) -> None:
        """Take over what became of the images, in their order."""
        for part in (parts[name] for name in ids if name in parts):
            self.rows += part.rows
            self.errors |= part.errors
            self.existing += part.existing
            for sink, entries in zip(self._collecting, part.entries, strict=True):
                for entry in entries:
                    sink.put(entry)
            if part.lost is not None:
                self._polygons.simplifier.add(*part.lost)


def _id(item: Item) -> str:
    """Return the name of an image's outputs, and the size and time of change of its file; of one at a URL, that."""
    try:
        found = item.path.stat()
    except OSError:
        return f"{item.output} {item.key}"
    return f"{item.output} {found.st_size} {found.st_mtime_ns}"
