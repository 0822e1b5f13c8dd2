"""Score a model on a split."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import torch
from torch import Tensor

from vocseg import draw, voc
from vocseg.data.dataset import SplitDataset
from vocseg.data.loader import evaluation_workers, samples
from vocseg.errors import ModelError
from vocseg.evaluation.result import Evaluation
from vocseg.inference.segmenter import Segmenter
from vocseg.metrics import ConfusionMatrix
from vocseg.training.losses import pixel_cross_entropy
from vocseg.utils.progress import progress


def check_classes(model: tuple[str, ...], data: tuple[str, ...], name: str, where: str) -> None:
    """Raise ModelError where the model ``name`` predicts other classes than the data in ``where`` have."""
    if model != data:
        first = next((pair for pair in zip(model, data, strict=False) if pair[0] != pair[1]), None)
        detail = f"; the first to differ: '{first[0]}' against '{first[1]}'" if first else ""
        raise ModelError(f"model {name} has {len(model)} classes, {where} has {len(data)}{detail}")


def evaluate(
    segmenter: Segmenter,
    dataset: SplitDataset,
    *,
    workers: int | None = None,
    save_masks: Path | None = None,
    title: str | None = None,
    shard: tuple[int, int] = (0, 1),
    gather: Callable[[Tensor], Tensor] = lambda sums: sums,
) -> Evaluation:
    """Predict every image of a split at its own size and score all pixels at once.

    ``workers``: loader processes, by default as many as help. ``save_masks`` is a folder for the predictions, as palette PNGs
    named by id. Of several processes each predicts the images of its ``shard`` (number, of how many), and ``gather`` adds
    their sums up: pixels are counted once, whatever the number of processes. Raises ModelError where the classes
    differ, DataError for unreadable data.
    """
    info = segmenter.info
    check_classes(info.classes, dataset.classes, info.architecture, str(dataset.folder.root))
    own = range(shard[0], len(dataset), shard[1])
    workers = evaluation_workers(segmenter.device) if workers is None else workers
    segmenter.expect(len(own))
    start = time.perf_counter()
    matrix = ConfusionMatrix(dataset.classes)
    loss = torch.zeros((), dtype=torch.float64)
    pixels = 0
    with closing(samples(dataset, workers, own)) as read:
        for image, mask, name, _ in progress(read, len(own), title or f"evaluate {dataset.split}"):
            logits = segmenter.low_res_logits(image)
            valid = int((mask != voc.VOID).sum())
            with torch.inference_mode():
                mean, classes = pixel_cross_entropy(logits, mask[None].to(logits.values.device))
            loss += float(mean) * valid
            pixels += valid
            prediction = classes[0].cpu()
            matrix.update(prediction, mask)
            if save_masks is not None:
                draw.save_mask(prediction, save_masks / f"{name}.png", segmenter.info.palette)
    matrix.counts, totals = gather(matrix.counts), gather(torch.tensor([float(loss), pixels], dtype=torch.float64))
    mean_loss = float(totals[0] / totals[1]) if totals[1] else None
    return Evaluation(matrix.scores(), mean_loss, len(dataset), dataset.split, time.perf_counter() - start)
