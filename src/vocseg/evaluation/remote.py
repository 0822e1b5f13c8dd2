"""``evaluate`` in processes of a cluster: each image's counts, which make the record that one process makes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from vocseg.data.dataset import SplitDataset
from vocseg.data.layout import VocFolder
from vocseg.errors import SettingError
from vocseg.evaluation.record import CountedImage, Record
from vocseg.evaluation.result import Evaluation
from vocseg.inference.remote import STATE, RemoteNetwork
from vocseg.inference.segmenter import Segmenter
from vocseg.utils.cluster import Cluster, Work, Worker
from vocseg.utils.shards import digest, stamps
from vocseg.utils.staging import is_there, stage, staging_of, wait
from vocseg.utils.stand_ins import published, url_of


class Scored(NamedTuple):
    """The counts of an image, and the precision that they were computed in."""

    image: CountedImage
    precision: str


@dataclass(frozen=True)
class EvaluateWork(Work):
    """Score images of a data set, by their names; ``scoring``: ``evaluate_split`` without segmenter, data set and masks.

    An image comes with the size of the file that was at its mask, if that is at a URL.
    """

    network: RemoteNetwork
    dataset: SplitDataset
    masks: Path | None
    scoring: partial[Evaluation]
    about: str

    def __getstate__(self) -> dict[str, Any]:
        """Name what is at URLs by these: another process has other stand-ins."""
        folder, state = self.dataset.folder, self.__dict__.copy()
        if url := url_of(folder.root):
            state["dataset"] = url, folder.mask_dir, self.dataset.split
        return state | {"masks": self.masks and (url_of(self.masks) or self.masks)}

    @property
    def uses_gpu(self) -> bool:  # type: ignore[override]
        return self.network.uses_gpu

    def start(self) -> Worker:
        segmenter, dataset, masks = self.network.segmenter(), self.dataset, self.masks
        if isinstance(dataset, tuple):
            url, mask_dir, split = dataset
            dataset = SplitDataset(VocFolder.find(url, mask_dir), split)
        if isinstance(masks, str):
            masks = stage(masks)
        places = {name: place for place, name in enumerate(dataset.names)}
        return partial(self._score, partial(self.scoring, segmenter, dataset=dataset, save_masks=masks), places, masks)

    def is_kept(self, result: Scored) -> bool:
        return self.masks is None or is_there(self.masks / f"{result.image.id}.png")

    def _score(
        self, scoring: partial[Evaluation], places: dict[str, int], masks: Path | None, images: Sequence[tuple[str, int | None]]
    ) -> list[Scored]:  # fmt: skip
        if masks is not None and (staging := staging_of(masks)):
            staging.listing = {f"{name}.png": size for name, size in images if size is not None}
        result = scoring(places=[places[name] for name, _ in images], workers=0, title=None)
        if masks is not None:
            wait(masks)
        assert result.record is not None
        rows = {row.id: row for row in result.record.images()}
        return [Scored(rows[name], scoring.args[0].precision) for name, _ in images]


def evaluate_on(
    cluster: Cluster, network: RemoteNetwork, segmenter: Segmenter, dataset: SplitDataset, scoring: partial[Evaluation],
    out: str | Path | None,
) -> Evaluation:  # fmt: skip
    """Score the images of a split; ``segmenter``: says what the network predicts. What is finished waits in ``out``."""
    start, state, given = time.perf_counter(), None if out is None else Path(out) / STATE, dict(scoring.keywords)
    masks: Path | None = given.pop("save_masks")
    folder, names = dataset.folder, sorted(dataset.names)
    depends = [
        url_of(folder.root) or folder.root,
        dataset.split,
        len(names),
        dataset.classes,
        given["shared"],
        masks and published(masks),
    ]
    about = digest([*network.about(segmenter), *depends])
    given.pop("dataset")
    work = EvaluateWork(network, dataset, masks, partial(scoring.func, **given), about)
    staging = None if masks is None else staging_of(masks)
    sizes = {name: staging and masks and staging.size(masks / f"{name}.png") for name in names}
    files = {name: digest(stamps([folder.image(name), folder.mask(name)])) for name in names}
    found = cluster.map(work, {f"{name} {files[name]}": (name, sizes[name]) for name in names}, state, given["title"])
    scored: list[Scored] = [*found.values()]
    precisions = sorted({row.precision for row in scored})
    if len(precisions) > 1:
        raise SettingError(f"machines of the cluster compute in {' and '.join(precisions)}; name one: --precision {precisions[0]}")
    classes = given["shared"].names if given["shared"] else segmenter.info.classes
    counted = Record.of(classes, sorted((row.image for row in scored), key=lambda image: image.id))
    described = dict(given["about"]) | {"precision": precisions[0]}
    return Evaluation.from_record(counted, dataset.split, described, time.perf_counter() - start)
