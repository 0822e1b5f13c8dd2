"""``evaluate`` in processes of a cluster: each image's counts, which make the record that one process makes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from vocseg.data.dataset import SplitDataset
from vocseg.errors import SettingError
from vocseg.evaluation.record import CountedImage, Record
from vocseg.evaluation.result import Evaluation
from vocseg.inference.remote import STATE, RemoteNetwork
from vocseg.inference.segmenter import Segmenter
from vocseg.utils.cluster import Cluster, Work, Worker
from vocseg.utils.shards import digest, stamps


class Scored(NamedTuple):
    """The counts of an image, the precision that they were computed in, and its mask, if that was saved."""

    image: CountedImage
    precision: str
    mask: Path | None


@dataclass(frozen=True)
class EvaluateWork(Work):
    """Score images of a data set, by their places in it; ``scoring``: ``evaluate_split`` without its segmenter."""

    network: RemoteNetwork
    dataset: SplitDataset
    scoring: partial[Evaluation]
    about: str

    @property
    def uses_gpu(self) -> bool:  # type: ignore[override]
        return self.network.uses_gpu

    def start(self) -> Worker:
        return partial(self._score, self.network.segmenter())

    def is_kept(self, result: Scored) -> bool:
        return result.mask is None or result.mask.is_file()

    def _score(self, segmenter: Segmenter, places: Sequence[int]) -> list[Scored]:
        result = self.scoring(segmenter, places=places, workers=0, title=None)
        assert result.record is not None
        rows = {row.id: row for row in result.record.images()}
        names, folder = [self.dataset.names[place] for place in places], self.scoring.keywords["save_masks"]
        return [Scored(rows[name], segmenter.precision, folder and folder / f"{name}.png") for name in names]


def evaluate_on(
    cluster: Cluster, network: RemoteNetwork, segmenter: Segmenter, dataset: SplitDataset, scoring: partial[Evaluation],
    out: str | Path | None,
) -> Evaluation:  # fmt: skip
    """Score the images of a split; ``segmenter``: says what the network predicts. What is finished waits in ``out``."""
    start, state, given = time.perf_counter(), None if out is None else Path(out) / STATE, scoring.keywords
    folder, names = dataset.folder, sorted(dataset.names)
    depends = [folder.root, dataset.split, len(names), dataset.classes, given["shared"], given["save_masks"]]
    work = EvaluateWork(network, dataset, scoring, digest([*network.about(segmenter), *depends]))
    places = {name: place for place, name in enumerate(dataset.names)}
    files = {name: digest(stamps([folder.image(name), folder.mask(name)])) for name in names}
    found = cluster.map(work, {f"{name} {files[name]}": places[name] for name in names}, state, given["title"])
    scored: list[Scored] = [*found.values()]
    precisions = sorted({row.precision for row in scored})
    if len(precisions) > 1:
        raise SettingError(f"machines of the cluster compute in {' and '.join(precisions)}; name one: --precision {precisions[0]}")
    classes = given["shared"].names if given["shared"] else segmenter.info.classes
    counted = Record.of(classes, sorted((row.image for row in scored), key=lambda image: image.id))
    about = dict(given["about"]) | {"precision": precisions[0]}
    return Evaluation.from_record(counted, dataset.split, about, time.perf_counter() - start)
