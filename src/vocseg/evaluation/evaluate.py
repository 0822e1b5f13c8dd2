"""Score a model on a split."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from vocseg import draw, voc
from vocseg.data.dataset import SplitDataset
from vocseg.data.image_io import check_palettes
from vocseg.data.label_checks import check_labels_of_split, split_fault
from vocseg.data.layout import protect_data
from vocseg.data.loader import evaluation_workers, samples
from vocseg.errors import DataError, ModelError, SettingError, shown
from vocseg.evaluation.counts import count_image
from vocseg.evaluation.pairs import PairDataset, find_dataset, root_of
from vocseg.evaluation.record import CountedImage, Record, truth_hash
from vocseg.evaluation.remote import evaluate_on
from vocseg.evaluation.result import MASKS, Evaluation, result_files
from vocseg.evaluation.shards import split_manifest
from vocseg.evaluation.shared_classes import SharedClasses, shared_classes
from vocseg.evaluation.temperature import PixelSample, check_fit, save_calibrated
from vocseg.inference.augment import Augmentation, cost_line
from vocseg.inference.engines import EngineName
from vocseg.inference.images import stacked
from vocseg.inference.remote import STATE, RemoteNetwork
from vocseg.inference.segmenter import Segmenter, as_segmenter
from vocseg.inference.shards import network_settings
from vocseg.metrics import ConfusionMatrix
from vocseg.ops.cross_entropy import score_pixels
from vocseg.utils.arguments import checked
from vocseg.utils.cluster import Cluster
from vocseg.utils.files import MARK, refuse_to_replace, writable_folder
from vocseg.utils.progress import progress
from vocseg.utils.shards import Shard, own_names
from vocseg.utils.staging import is_there, staged, upload, wait
from vocseg.utils.stand_ins import published

log = logging.getLogger("vocseg.evaluation")


@checked
@staged("out", "json", "save_masks", "fit_temperature")
def evaluate(
    model: str | Path | nn.Module | Segmenter,
    data: Any,
    split: str = "val",
    *,
    mask_dir: str = voc.MASKS,
    weights: str | None = None,
    device: str | torch.device = "auto",
    precision: str | torch.dtype = "auto",
    engine: EngineName = "auto",
    exact: bool = False,
    max_short_side: int | None = None,
    tta: Augmentation = "none",
    match_classes: bool = False,
    batch_size: int | None = None,
    workers: int | None = None,
    save_masks: str | Path | None = None,
    out: str | Path | None = None,
    fit_temperature: str | Path | None = None,
    shard: str | None = None,
    cluster: Cluster | None = None,
    json: str | Path | None = None,
    title: str | None = None,
) -> Evaluation:
    """Score a model on a split: images at their own size, one confusion matrix over all, without void pixels.

    ``model`` is a name, a model file, a network (if it does not say what it predicts, the classes of the data), or a
    :class:`vocseg.Segmenter`, which brings the options from ``weights`` to ``tta`` itself. ``data`` is a
    folder in VOC layout, of which ``split`` and ``mask_dir`` are read, or a data set of (image, mask) pairs.
    ``match_classes`` scores the classes that model and data both name: the model chooses among these, and pixels of the
    data's other classes do not count. ``batch_size``: images of equal size in a batch; by default 16 on a GPU and 1 on
    a CPU, where a batch is no faster. ``workers``: loader processes; by default as many as help. ``save_masks``: a
    folder for the predictions, palette PNGs named by id. ``out``: a folder for the scores, the counts of each image, and
    the predictions (``masks``); see :meth:`Evaluation.save`. ``fit_temperature``: a new model file, the model with the
    temperature that makes its probabilities fit this split best; the scores are those before. ``shard``: score only
    share ``I/N`` of a folder's images, I from 1 to N, each image by its id; the results go to the folder ``shard-I-of-N`` in
    ``out``, which is not computed again while its images and settings are the same, and :func:`vocseg.merge` makes one
    result of all. ``cluster``: where to score, if not in this process (:func:`vocseg.ray.evaluate`). ``json``: a file for
    the scores. ``title``: shows a progress bar on a terminal. The data, the model and all outputs
    may be at URLs (``s3://bucket/results``).

    Raises ModelError if the model cannot be used or its classes are not those of the data, DataError for unreadable
    data and for a split of one class, of which no score can be right, OutputError if an output cannot be written or would
    replace an input or a file of the data.

    >>> from vocseg.data.samples import FOLDER
    >>> result = evaluate("vocseg-s", FOLDER, "samples", device="cpu")
    >>> result.images, result.per_class["cat"].iou > 0.8
    (4, True)
    """
    part = None if shard is None else Shard.parse(shard)
    dataset = find_dataset(data, split, mask_dir)
    if (part or cluster) is not None and (fit_temperature is not None or not isinstance(dataset, SplitDataset)):
        what = "a cluster scores" if part is None else f"shard {part} is of"
        raise SettingError(f"{what} a folder in VOC layout, and without fit_temperature, which needs all images")
    if part is not None and cluster is not None:
        raise SettingError("a cluster (--ray) takes no shard (--shard)")
    names = own_names(part, dataset.names)
    name = str(model) if isinstance(model, str | Path) else None
    if save_masks is None and out is not None:
        save_masks = Path(out) / MASKS
    folder = None if save_masks is None else Path(save_masks)
    target = out if out is None or part is None else part.folder(out)
    outputs = [None if json is None else Path(json), *result_files(target)]
    if fit_temperature is not None:
        check_fit(model, Path(fit_temperature))
        outputs.append(Path(fit_temperature))
    masks = [] if folder is None else [folder / f"{image}.png" for image in names]
    outputs += masks
    if isinstance(dataset, SplitDataset):
        protect_data(dataset.folder.root, [dataset.folder.mask_dir], outputs, [name, weights])
        check_palettes(map(dataset.folder.mask, names))
    else:
        refuse_to_replace(outputs, [name, weights])
    options: dict[str, Any] = {"weights": weights, "device": device, "precision": precision, "engine": engine, "exact": exact}
    options |= {"classes": dataset.classes if isinstance(model, nn.Module) else None, "max_short_side": max_short_side, "tta": tta}
    network = RemoteNetwork(model, options)
    segmenter = as_segmenter(model, **options) if cluster is None else network.described()
    about = {"model": shown(name or segmenter.info.architecture), "precision": segmenter.precision, "data": root_of(dataset)}
    if segmenter.tta != "none":
        about["tta"] = cost_line(segmenter.tta)
    if dataset.classes is None:
        dataset.classes = segmenter.info.classes
    shared = shared_classes(segmenter.info, dataset.classes, about["data"], match_classes)
    if shared is not None:
        about["not_scored"] = ", ".join(name for name in dataset.classes if name not in shared.names)
        if fit_temperature is not None:
            raise ModelError("a temperature is fitted on all classes of a model, not on those that the data name too")
    if folder is not None:
        writable_folder(folder)
    scoring = partial(
        evaluate_split, dataset=dataset, batch_size=batch_size, workers=workers, save_masks=folder, title=title, about=about,
        shared=shared, per_image=True,
    )  # fmt: skip
    if part is not None and isinstance(dataset, SplitDataset):
        settings = network_settings(model, weights, segmenter, len(dataset)) | {"match_classes": match_classes}
        result = _evaluate_shard(part, dataset, names, settings, masks, partial(scoring, segmenter), out)
    elif cluster is not None and isinstance(dataset, SplitDataset):
        result = evaluate_on(cluster, network, segmenter, dataset, scoring, out)
        _check_labels(result, dataset)
        result.save_all(out, None)
        if out is not None:
            wait(Path(out))
            cluster.forget(Path(out) / STATE)
    else:
        sample = None if fit_temperature is None else PixelSample(len(dataset))
        result = scoring(segmenter, pixel_sample=sample)
        _check_labels(result, dataset)
        if sample is not None and fit_temperature is not None:
            result = replace(result, temperature=(fit := sample.fit(segmenter.info.temperature)))
            save_calibrated(cast(Any, model), dataset.classes, weights, fit.temperature, Path(fit_temperature))
        result.save_all(out, None)
    result.save_all(None, json)
    return result


def _evaluate_shard(
    shard: Shard, dataset: SplitDataset, names: Sequence[str], settings: dict[str, Any], masks: Sequence[Path],
    scoring: Callable[..., Evaluation], out: str | Path | None,
) -> Evaluation:  # fmt: skip
    """Score the images of a shard, unless an earlier call has."""
    manifest = split_manifest("evaluate", shard, dataset, names, settings)
    own = set(names)

    def score() -> Evaluation:
        return scoring(places=[place for place, name in enumerate(dataset.names) if name in own])

    def load(folder: Path) -> Evaluation:
        if missing := [mask for mask in masks if not is_there(mask)]:
            raise DataError(f"no predicted mask {published(missing[0])}")
        return Evaluation.load(folder)

    return manifest.once(out, load, score, Evaluation.save)


def _check_labels(result: Evaluation, dataset: SplitDataset | PairDataset) -> None:
    """Raise DataError, or for a data set of pairs log a warning, if no score of the split can be right."""
    pixels = [row.true_pixels for row in result.scores.per_class]
    if isinstance(dataset, SplitDataset):
        check_labels_of_split(pixels, [*result.per_class], dataset.split)
    elif fault := split_fault(pixels, [*result.per_class]):
        log.warning("%s: %s", dataset.split, fault[1])


def evaluate_split(
    segmenter: Segmenter,
    dataset: SplitDataset | PairDataset,
    *,
    places: Sequence[int] | None = None,
    gather: Callable[[Tensor], Tensor] = lambda sums: sums,
    batch_size: int | None = None,
    workers: int | None = None,
    save_masks: Path | None = None,
    title: str | None = None,
    about: dict[str, str] | None = None,
    shared: SharedClasses | None = None,
    per_image: bool = False,
    pixel_sample: PixelSample | None = None,
) -> Evaluation:
    """Score a segmenter on the samples of a data set; see :func:`evaluate` for the options that both take.

    Of several processes each predicts the images at its ``places`` in the data set, and ``gather`` sums a tensor over the
    processes, so every pixel counts once. With ``shared`` only these classes are scored. ``per_image`` keeps the
    counts of each image; all scores are then those of this process's share. ``pixel_sample`` keeps the logits of some
    pixels. Raises ModelError if the classes differ, DataError for unreadable data.
    """
    start = time.perf_counter()
    classes, palette = segmenter.info.classes, segmenter.info.palette
    if shared is None:
        segmenter.info.check_classes(dataset.classes or classes, root_of(dataset))
    else:
        classes, palette = shared.names, voc.PALETTE
    own = range(len(dataset)) if places is None else places
    workers = evaluation_workers(segmenter.device) if workers is None else workers
    matrix = ConfusionMatrix(classes, segmenter.device if segmenter.device.type == "cuda" else "cpu")
    # Counts stay on the device, so that nothing waits for it.
    total = torch.zeros((), dtype=torch.float64, device=matrix.device)
    kept: list[CountedImage] = []
    with closing(samples(cast(Any, dataset), workers, own)) as read:
        shown = progress(read, len(own), title)
        for batch in segmenter.batches(shown, lambda sample: sample.mask.shape, batch_size):
            images, masks = (stacked(tensors) for tensors in zip(*(sample[:2] for sample in batch), strict=True))
            logits = segmenter.low_res_logits(images, total=len(dataset))  # one engine for all shards
            if shared is not None:
                logits, masks = shared.logits(logits), shared.scored(masks)
            masks = masks.to(logits.values.device, non_blocking=True)
            if pixel_sample is not None:
                pixel_sample.add([item.name for item in batch], logits, masks)
            scored = score_pixels(logits, masks, segmenter.info.temperature)
            predictions = scored.classes
            for sample, prediction, mask, loss, confidence in zip(batch, predictions, masks, *scored[::2], strict=True):
                if per_image:
                    counts = count_image(mask, prediction, confidence, len(classes))
                    kept.append(CountedImage(sample.name, truth_hash(sample.mask), loss, *counts))
                else:
                    matrix.update(prediction, mask)
                    total += loss.to(matrix.device)
            if save_masks is not None:
                labels = predictions if shared is None else shared.labels_of(predictions)
                for sample, prediction in zip(batch, labels.cpu(), strict=True):
                    draw.save_mask(prediction, file := save_masks / f"{sample.name}.png", palette, MARK)
                    upload([file])
    if per_image:
        in_order = sorted(dataset.names) if isinstance(dataset, SplitDataset) else dataset.names
        order = {name: place for place, name in enumerate(in_order)}
        kept.sort(key=lambda image: order[image.id])
        return Evaluation.from_record(Record.of(classes, kept), dataset.split, about or {}, time.perf_counter() - start)
    matrix.counts, loss = gather(matrix.counts), float(gather(total))
    seconds, pixels = time.perf_counter() - start, int(matrix.counts.sum())
    return Evaluation(matrix.compute(), loss / pixels if pixels else None, len(dataset), dataset.split, seconds, about or {})
