"""Score a folder of masks made by any tool."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from torch import Tensor

from vocseg.data.dataset import size_text
from vocseg.data.image_io import read_mask
from vocseg.data.layout import VocFolder, files_by_stem
from vocseg.errors import DataError, InputError
from vocseg.evaluation.result import Evaluation
from vocseg.metrics import ConfusionMatrix, confusion_matrix
from vocseg.utils.progress import progress


def score_folder(predictions: Path, folder: VocFolder, split: str) -> Evaluation:
    """Score the mask PNGs ``<id>.png`` in ``predictions`` against the truth of a split.

    Raises DataError, naming the file, for a missing or unreadable mask, another size than the truth's, or a value
    outside the classes.
    """
    if not predictions.is_dir():
        raise DataError(f"no folder of masks {predictions}")
    start = time.perf_counter()
    names = folder.ids(split)
    files = files_by_stem(predictions, (".png",))
    missing = [name for name in names if name not in files]
    if missing:
        raise DataError(
            f"{predictions} has no mask for {len(missing)} of the {len(names)} images of {split}; the first: {missing[0]}.png"
        )
    matrix = ConfusionMatrix(folder.classes)

    def count(name: str) -> Tensor:
        truth = read_mask(folder.mask(name), len(folder.classes))
        prediction = read_mask(files[name])
        if prediction.shape != truth.shape:
            raise DataError(f"mask {files[name]} is {size_text(prediction)}, its truth {folder.mask(name)} {size_text(truth)}")
        try:
            return confusion_matrix(prediction, truth, len(folder.classes))
        except InputError as error:
            raise DataError(f"mask {files[name]}: {error}") from error

    with ThreadPoolExecutor() as pool:
        for counts in progress(pool.map(count, names), len(names), f"score {split}"):
            matrix.counts += counts
    return Evaluation(matrix.scores(), None, len(names), split, time.perf_counter() - start)
