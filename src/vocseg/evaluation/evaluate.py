"""Score a model on a split."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from vocseg import draw, voc
from vocseg.data.dataset import Sample, SplitDataset, size_text
from vocseg.data.image_io import check_labels, check_palettes
from vocseg.data.label_checks import check_labels_of_split, split_fault
from vocseg.data.layout import VocFolder, protect_data
from vocseg.data.loader import evaluation_workers, samples
from vocseg.data.voc_dataset import VOCDataset
from vocseg.errors import DataError, ModelError
from vocseg.evaluation.counts import count_image
from vocseg.evaluation.record import CountedImage, Record, truth_hash
from vocseg.evaluation.result import MASKS, Evaluation, result_files
from vocseg.evaluation.temperature import PixelSample, check_fit, save_calibrated
from vocseg.inference.augment import Augmentation, cost_line
from vocseg.inference.engines import EngineName
from vocseg.inference.images import stacked, to_pixels
from vocseg.inference.segmenter import Segmenter, as_segmenter
from vocseg.metrics import ConfusionMatrix
from vocseg.models import ModelInfo
from vocseg.ops.cross_entropy import score_pixels
from vocseg.ops.low_res_logits import LowResLogits
from vocseg.utils.arguments import checked
from vocseg.utils.files import MARK, refuse_to_replace, writable_folder
from vocseg.utils.progress import progress

log = logging.getLogger("vocseg.evaluation")


@checked
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
    temperature that makes its probabilities fit this split best; the scores are those before. ``json``: a file for the
    scores. ``title``: shows a progress bar on a terminal.

    Raises ModelError if the model cannot be used or its classes are not those of the data, DataError for unreadable
    data and for a split of one class, of which no score can be right, OutputError if an output cannot be written or would
    replace an input or a file of the data.

    >>> from vocseg.data.samples import FOLDER
    >>> result = evaluate("vocseg-s", FOLDER, "samples", device="cpu")
    >>> result.images, result.per_class["cat"].iou > 0.8
    (4, True)
    """
    dataset = _dataset(data, split, mask_dir)
    name = str(model) if isinstance(model, str | Path) else None
    if save_masks is None and out is not None:
        save_masks = Path(out) / MASKS
    folder = None if save_masks is None else Path(save_masks)
    outputs = [None if json is None else Path(json), *result_files(out)]
    if fit_temperature is not None:
        check_fit(model, Path(fit_temperature))
        outputs.append(Path(fit_temperature))
    if folder is not None:
        outputs += [folder / f"{image}.png" for image in dataset.names]
    if isinstance(dataset, SplitDataset):
        protect_data(dataset.folder.root, [dataset.folder.mask_dir], outputs, [name, weights])
        check_palettes(map(dataset.folder.mask, dataset.masked))
    else:
        refuse_to_replace(outputs, [name, weights])
    options = {"weights": weights, "device": device, "precision": precision, "engine": engine, "exact": exact}
    segmenter = as_segmenter(model, classes=None if name else dataset.classes, max_short_side=max_short_side, tta=tta, **options)
    about = {"model": name or segmenter.info.architecture, "precision": segmenter.precision, "data": _root(dataset)}
    if segmenter.tta != "none":
        about["tta"] = cost_line(segmenter.tta)
    if dataset.classes is None:
        dataset.classes = segmenter.info.classes
    shared = _shared_classes(segmenter.info, dataset.classes, about["data"], match_classes)
    if shared is not None:
        about["not_scored"] = ", ".join(name for name in dataset.classes if name not in shared.names)
        if fit_temperature is not None:
            raise ModelError("a temperature is fitted on all classes of a model, not on those that the data name too")
    if folder is not None:
        writable_folder(folder)
    sample = None if fit_temperature is None else PixelSample(len(dataset))
    result = evaluate_split(
        segmenter, dataset, batch_size=batch_size, workers=workers, save_masks=folder, title=title, about=about, shared=shared,
        per_image=True, pixel_sample=sample,
    )  # fmt: skip
    pixels = [row.true_pixels for row in result.scores.per_class]
    if isinstance(dataset, SplitDataset):
        check_labels_of_split(pixels, [*result.per_class], dataset.split)
    elif fault := split_fault(pixels, [*result.per_class]):
        log.warning("%s: %s", dataset.split, fault[1])
    if sample is not None and fit_temperature is not None:
        result = replace(result, temperature=(fit := sample.fit(segmenter.info.temperature)))
        save_calibrated(cast(Any, model), dataset.classes, weights, fit.temperature, Path(fit_temperature))
    result.save_all(out, json)
    return result


def evaluate_split(
    segmenter: Segmenter,
    dataset: SplitDataset | PairDataset,
    *,
    shard: tuple[int, int] = (0, 1),
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

    Of several processes each predicts the images of its ``shard`` (number, of how many), and ``gather`` sums a tensor
    over the processes, so every pixel counts once. With ``shared`` only these classes are scored. ``per_image`` keeps the
    counts of each image; all scores are then those of this process's share. ``pixel_sample`` keeps the logits of some
    pixels. Raises ModelError if the classes differ, DataError for unreadable data.
    """
    start = time.perf_counter()
    classes, palette = segmenter.info.classes, segmenter.info.palette
    if shared is None:
        segmenter.info.check_classes(dataset.classes or classes, _root(dataset))
    else:
        classes, palette = shared.names, voc.PALETTE
    own = range(shard[0], len(dataset), shard[1])
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
                    draw.save_mask(prediction, save_masks / f"{sample.name}.png", palette, MARK)
    if per_image:
        return Evaluation.from_record(Record.of(classes, kept), dataset.split, about or {}, time.perf_counter() - start)
    matrix.counts, loss = gather(matrix.counts), float(gather(total))
    seconds, pixels = time.perf_counter() - start, int(matrix.counts.sum())
    return Evaluation(matrix.compute(), loss / pixels if pixels else None, len(dataset), dataset.split, seconds, about or {})


class SharedClasses(NamedTuple):
    """The classes that a model and a data set both name: their names and labels in the data, and ids of the model."""

    names: tuple[str, ...]
    labels: list[int]
    ids: list[int]

    @classmethod
    def of(cls, predicted: Sequence[str], classes: Sequence[str]) -> SharedClasses:
        """Match names without regard to case, blanks, dashes and underscores; all names of the background are one."""
        ids = {_plain(name): label for label, name in reversed(list(enumerate(predicted)))}
        rows = [(name, label, ids[_plain(name)]) for label, name in enumerate(classes) if _plain(name) in ids]
        return cls(tuple(row[0] for row in rows), [row[1] for row in rows], [row[2] for row in rows])

    def logits(self, logits: LowResLogits) -> LowResLogits:
        """Return the logits of the shared classes."""
        return replace(logits, values=logits.values[:, self.ids])

    def scored(self, masks: Tensor) -> Tensor:
        """Return masks with positions among the shared classes, and void for all others."""
        table = torch.full((256,), voc.VOID, dtype=torch.uint8)
        table[self.labels] = torch.arange(len(self.labels), dtype=torch.uint8)
        return table[masks.long()]

    def labels_of(self, predictions: Tensor) -> Tensor:
        """Return predicted positions as labels of the data."""
        return torch.tensor(self.labels, dtype=torch.uint8, device=predictions.device)[predictions.long()]


def _plain(name: str) -> str:
    plain = re.sub(r"[\W_]+", "", name.casefold())
    return plain or name


def _shared_classes(info: ModelInfo, classes: tuple[str, ...], where: str, match: bool) -> SharedClasses | None:
    """Return the shared classes, or None if all are; ModelError if the others may not be ignored, or nearly all are others."""
    shared = SharedClasses.of(info.classes, classes)
    try:
        info.check_classes(classes, where)
    except ModelError as error:
        if len(shared.names) < 2:
            raise
        if not match:
            raise ModelError(f"{error}; match_classes (--match-classes) scores the {len(shared.names)} that both name") from error
        return shared
    return None


def _dataset(data: Any, split: str, mask_dir: str) -> SplitDataset | PairDataset:
    if isinstance(data, str | Path):
        return SplitDataset(VocFolder.find(data, mask_dir), split)
    if isinstance(data, VOCDataset) and data.transform is data.target_transform is data.transforms is None:
        return data.samples
    return data if isinstance(data, SplitDataset) else PairDataset(data)


def _root(dataset: SplitDataset | PairDataset) -> str:
    return str(dataset.folder.root) if isinstance(dataset, SplitDataset) else dataset.title


class PairDataset(Dataset[Sample]):
    """The samples of a data set, such as torchvision's, of (image, mask) pairs.

    An image is what :class:`vocseg.Segmenter` takes. A mask is a Pillow palette or gray image, or integers: an array or
    tensor, H x W or 1 x H x W. ``classes`` are those of the data set, None if it has none. Items are named by their index.
    """

    def __init__(self, pairs: Any) -> None:
        self.pairs = pairs
        self.title = type(pairs).__name__
        self.classes: tuple[str, ...] | None = tuple(getattr(pairs, "classes", None) or ()) or None
        self.split = str(getattr(pairs, "split", None) or getattr(pairs, "image_set", None) or self.title)
        self.names = [str(index) for index in range(len(pairs))]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        image, mask = self.pairs[index][:2]
        where = f"{index} of {self.title}"
        pixels, labels = to_pixels(image), mask if isinstance(mask, Tensor) else torch.from_numpy(np.array(mask))
        labels = labels[0] if labels.dim() == 3 and len(labels) == 1 else labels
        if labels.dim() != 2 or labels.is_floating_point():
            raise DataError(f"mask {where} is {tuple(labels.shape)} {labels.dtype}, not H x W integers")
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) <= voc.VOID:
            raise DataError(f"mask {where} holds values from {int(labels.min())} to {int(labels.max())}, not only 0..{voc.VOID}")
        if pixels.shape[1:] != labels.shape:
            raise DataError(f"image {where} is {size_text(pixels)} but its mask is {size_text(labels)}")
        labels = labels.as_subclass(Tensor).to(torch.uint8)
        check_labels(labels, len(self.classes) if self.classes else voc.VOID, where)
        return Sample(pixels, labels, self.names[index])
