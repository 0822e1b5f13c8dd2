"""Find images and objects of a data set that are probably labeled wrong, by what a model thinks of their labels."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vocseg import voc
from vocseg.convert.regions import Mask
from vocseg.data.dataset import SplitDataset
from vocseg.data.image_io import check_palettes
from vocseg.data.layout import VocFolder, protect_data
from vocseg.data.loader import evaluation_workers, samples
from vocseg.errors import SettingError, shown
from vocseg.evaluation.label_components import KINDS, LabelError, label_errors, softmin, worst_region
from vocseg.evaluation.label_result import PAGE, REVIEW, ImageQuality, LabelErrors, Rank, most_doubtful, ranked, refuse_reviewed
from vocseg.evaluation.sample import held_out
from vocseg.evaluation.shards import split_manifest
from vocseg.inference.augment import Augmentation
from vocseg.inference.engines import EngineName
from vocseg.inference.images import stacked
from vocseg.inference.segmenter import Segmenter, as_segmenter
from vocseg.inference.shards import network_settings
from vocseg.models import ModelInfo
from vocseg.ops.cross_entropy import label_probabilities
from vocseg.utils.arguments import checked
from vocseg.utils.progress import progress
from vocseg.utils.shards import Shard, own_names

MIN_AREA, LIMIT = 0.002, 200
"""Smallest object, as a share of its image, and how many objects of each kind are kept."""

Model = str | Path | nn.Module | Segmenter


@checked
def find_label_errors(
    data: str | Path,
    model: Model | Sequence[Model] = "vocseg-s",
    split: str = "train",
    *,
    mask_dir: str = voc.MASKS,
    weights: str | None = None,
    device: str | torch.device = "auto",
    precision: str | torch.dtype = "auto",
    engine: EngineName = "auto",
    exact: bool = False,
    max_short_side: int | None = None,
    tta: Augmentation = "none",
    batch_size: int | None = None,
    workers: int | None = None,
    rank: Rank = "region",
    min_area: float = MIN_AREA,
    limit: int = LIMIT,
    shard: str | None = None,
    out: str | Path | None = None,
    title: str | None = None,
) -> LabelErrors:
    """Rank the images of a split by how little a model believes their labels, and list the objects it disagrees about.

    Both scores of an image come from the probability that the model gives to each pixel's label, void left out. ``rank``:
    ``region``, the lowest mean in a window of a twentieth of the longer side
    (:func:`vocseg.evaluation.label_components.worst_region`), which finds wrong objects better than ``softmin`` of single
    pixels (Lad and Mueller 2023). Objects are those that are predicted but not labeled, labeled but not predicted, or of
    another class, of at least ``min_area`` of their image; the ``limit`` most doubtful of each kind are kept. Memory does
    not grow with the data except for ids and scores.

    ``model``: as for :func:`vocseg.evaluate`, or several: each image is scored by the first that was not trained on it, as
    far as the model files say (:func:`vocseg.train_folds` trains such). A model knows too well the labels that it was
    trained on: the result says for how many images that is so. ``shard``: only share ``I/N`` of the images, whose results go
    to ``shard-I-of-N`` in ``out``, without a page (see :func:`vocseg.evaluate`); :func:`vocseg.merge` makes one result of
    all shards. ``out``: a folder for ``review.json`` and a page with crops. ``title``: shows a progress
    bar on a terminal. Raises DataError for unreadable data, ModelError for a model that cannot be used, OutputError if an
    output cannot be written or would replace the data, or decisions in ``review.json``.

    >>> from vocseg.data.samples import FOLDER
    >>> find_label_errors(FOLDER, "vocseg-s", "samples", device="cpu", min_area=0.1)
    LabelErrors(0 objects in 4 images of samples)
    """
    part = None if shard is None else Shard.parse(shard)
    if not 0 <= min_area <= 1 or limit < 0:
        raise SettingError(f"min_area {min_area} must lie in 0..1, and limit {limit} not below 0")
    models = [model] if isinstance(model, str | Path | nn.Module | Segmenter) else list(model)
    names = [str(one) if isinstance(one, str | Path) else None for one in models]
    folder = VocFolder.find(data, mask_dir)
    folders = [] if out is None else [Path(out)] if part is None else [Path(out), part.folder(out)]
    protect_data(data, [mask_dir, "."], [place / name for place in folders for name in (REVIEW, PAGE)], [*names, weights])
    if out is not None:
        refuse_reviewed(out)
    dataset = SplitDataset(folder, split)
    own_ids = own_names(part, dataset.names)
    check_palettes(map(folder.mask, own_ids))
    options = {"weights": weights, "device": device, "precision": precision, "engine": engine, "exact": exact}
    segmenters = [
        as_segmenter(
            one, classes=dataset.classes if isinstance(one, nn.Module) else None, max_short_side=max_short_side, tta=tta, **options
        )
        for one in models
    ]
    for segmenter in segmenters:
        segmenter.info.check_classes(dataset.classes, str(folder.root))

    def find() -> LabelErrors:
        scorer = _Scorer(dataset, min_area, limit)
        assigned = _assigned([segmenter.info for segmenter in segmenters], folder, own_ids)
        places = {name: place for place, name in enumerate(dataset.names)}
        for number, segmenter in enumerate(segmenters):
            own = {name: known for name, (chosen, known) in assigned.items() if chosen == number}
            if own:
                scorer.add(segmenter, [places[name] for name in own], own, batch_size, workers, title)
        used = tuple(shown(name or one.info.architecture) for name, one in zip(names, segmenters, strict=True))
        return LabelErrors(
            folder.root, split, mask_dir, used, dataset.classes, rank, limit,
            ranked(scorer.images, rank), most_doubtful(scorer.objects, limit), {kind: scorer.found[kind] for kind in KINDS},
        )  # fmt: skip

    if part is None:
        result = find()
        if out is not None:
            result.save(out)
        return result
    networks = [network_settings(one, weights, used, len(dataset)) for one, used in zip(models, segmenters, strict=True)]
    settings = {"models": networks, "rank": rank, "min_area": min_area, "limit": limit}
    return split_manifest("data errors", part, dataset, own_ids, settings).once(
        out, lambda done: LabelErrors.load(done / REVIEW, folder.root), find, lambda result, target: result.save(target / REVIEW)
    )


def _assigned(infos: Sequence[ModelInfo], folder: VocFolder, names: Iterable[str]) -> dict[str, tuple[int, bool | None]]:
    """Return for each image the number of the model that scores it, and whether it is out of that model's sample."""
    rules = [held_out(info, folder) for info in infos]
    rank = {True: 0, None: 1, False: 2}

    def best(name: str) -> tuple[int, bool | None]:
        known = [rule(name) for rule in rules]
        number = min(range(len(known)), key=lambda place: rank[known[place]])
        return number, known[number]

    return {name: best(name) for name in names}


class _Scorer:
    """Collects the quality of images, and the most doubtful objects."""

    def __init__(self, dataset: SplitDataset, min_area: float, limit: int) -> None:
        self.dataset, self.min_area, self.limit = dataset, min_area, limit
        self.images: list[ImageQuality] = []
        self.objects: list[LabelError] = []
        self.found: Counter[str] = Counter()

    def add(
        self, segmenter: Segmenter, places: list[int], own: Mapping[str, bool | None], batch_size: int | None, workers: int | None,
        title: str | None,
    ) -> None:  # fmt: skip
        """Score the images at these places of the data set with one model."""
        workers = evaluation_workers(segmenter.device) if workers is None else workers
        with closing(samples(self.dataset, workers, places)) as read:
            shown = progress(read, len(places), title)
            for batch in segmenter.batches(shown, lambda sample: sample.mask.shape, batch_size):
                # All shards get the engine that is chosen for the whole data set.
                logits = segmenter.low_res_logits(stacked([sample.image for sample in batch]), total=len(self.dataset))
                if segmenter.info.temperature != 1:
                    logits = replace(logits, values=logits.values.float() / segmenter.info.temperature)
                masks = stacked([sample.mask for sample in batch])
                found = label_probabilities(logits, masks.to(logits.values.device))
                for sample, predicted, probability in zip(batch, *(part.cpu().numpy() for part in found), strict=True):
                    self._add_image(sample.name, sample.mask.numpy(), predicted, probability, own[sample.name])

    def _add_image(
        self, name: str, mask: Mask, predicted: Mask, probability: NDArray[np.float32], out_of_sample: bool | None
    ) -> None:
        valid = mask != voc.VOID
        self.images.append(ImageQuality(name, worst_region(probability, valid), softmin(probability[valid]), out_of_sample))
        smallest = max(1, math.ceil(self.min_area * mask.size))
        for error in label_errors(name, self.dataset.classes, mask, predicted, probability, smallest):
            self.found[error.kind] += 1
            self.objects.append(error)
        if len(self.objects) > 2 * len(KINDS) * self.limit:  # memory does not grow with the data
            self.objects = list(most_doubtful(self.objects, self.limit))
