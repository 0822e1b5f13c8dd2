"""Time the counts of boundaries, components and confidence, image by image and in an evaluation.

    OMP_NUM_THREADS=1 python benchmarks/count_images.py FOLDER_WITH_VOCdevkit --model vocseg-s --split val_dev

Processor time, so that other programs count little; the evaluations alternate.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from scipy import ndimage

from vocseg import voc
from vocseg.data.dataset import SplitDataset
from vocseg.data.layout import VocFolder
from vocseg.evaluation import evaluate as evaluation
from vocseg.evaluation.counts import count_image
from vocseg.evaluation.record import Record, count_masks
from vocseg.evaluation.result import Evaluation
from vocseg.inference.segmenter import Segmenter
from vocseg.metrics import confusion_matrix
from vocseg.utils.system import machine, tune_process
from vocseg.utils.text import percent


def plain(truth: torch.Tensor, prediction: torch.Tensor, _: torch.Tensor, classes: int) -> tuple[Any, dict[str, Any]]:
    """Count only the confusion matrix."""
    return confusion_matrix(prediction, truth, classes).numpy(), {}


def processor_time(work: Callable[[], Any], repeats: int = 1) -> float:
    """Return seconds of processor time a call."""
    start = time.process_time()
    for _ in range(repeats):
        work()
    return (time.process_time() - start) / repeats


def masks_of(segmenter: Segmenter, dataset: SplitDataset, number: int) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Return truth, prediction and confidence of some images."""
    rows = []
    for place in range(min(number, len(dataset))):
        sample = dataset[place]
        result = segmenter(sample.image)
        rows.append((sample.mask, result.mask, result.probabilities().amax(0)))
    return rows


def ceiling(dataset: SplitDataset) -> float | None:
    """Return the boundary IoU of predictions that are right on every counted pixel: the truth, void as the nearest label."""
    rows, classes = [], dataset.classes or ()
    for place in range(len(dataset)):
        sample = dataset[place]
        truth = sample.mask.numpy()
        nearest = ndimage.distance_transform_edt(truth == voc.VOID, return_distances=False, return_indices=True)
        rows.append(count_masks(sample.name, torch.from_numpy(truth[tuple(nearest)]), sample.mask, len(classes)))
    scores = Evaluation.from_record(Record.of(classes, rows), dataset.split, {}).boundary
    return scores and scores.miou


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", default="vocseg-s")
    parser.add_argument("--split", default="val")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    tune_process()
    dataset = SplitDataset(VocFolder.find(arguments.data), arguments.split)
    segmenter = Segmenter(arguments.model, device="cpu")
    print(machine())
    classes, rows = len(segmenter.info.classes), masks_of(segmenter, dataset, 100)
    count_image(*rows[0], classes)  # imports
    for name, keep in (("without confidence", False), ("with confidence", True)):
        times = [
            processor_time(partial(count_image, truth, prediction, confidence if keep else None, classes), 5)
            for truth, prediction, confidence in rows
        ]
        print(f"counts of an image {name}: mean {1e3 * statistics.mean(times):.1f} ms, largest {1e3 * max(times):.1f} ms")
    print(f"boundary IoU of predictions that are right on every counted pixel: {percent(ceiling(dataset))} %")
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(arguments.rounds):
        for counted in (False, True):
            evaluation.count_image = count_image if counted else plain  # type: ignore[assignment]
            seconds[counted].append(processor_time(lambda: evaluation.evaluate_split(segmenter, dataset, per_image=True)))
    without, whole = (statistics.median(seconds[counted]) for counted in (False, True))
    print(f"evaluation of {len(dataset)} images: {without:.1f} s without, {whole:.1f} s with: {100 * (whole / without - 1):+.1f} %")


if __name__ == "__main__":
    main()
