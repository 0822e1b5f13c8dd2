"""A teacher's class probabilities of whole images, computed once and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vocseg.data.image_io import read_image
from vocseg.data.transforms.geometry import resize_image
from vocseg.errors import ModelError
from vocseg.inference.segmenter import Segmenter
from vocseg.models import SegmentationModel, create_model
from vocseg.models.checkpoint import read_weights_file
from vocseg.models.registry import comes_untrained, is_file_name
from vocseg.training.distillation.soft_labels import SOFT_CELL
from vocseg.utils.files import replacing, writable_folder, write_json
from vocseg.utils.progress import progress

SCALES = (0.75, 1.0, 1.25)
"""Sizes, relative to the image's own, over which a teacher's probabilities are averaged, each as it is and mirrored."""


def soft_labels(segmenter: Segmenter, image: Tensor, scales: Sequence[float] = SCALES) -> Tensor:
    """Class probabilities of an image (uint8 RGB, 3 x H x W): uint8 (255 = 1), classes x cells of ``SOFT_CELL`` pixels.

    Mean over scales and mirror images of the softmax of each cell's mean logits.
    """
    height, width = image.shape[1:]
    cells = (-(-height // SOFT_CELL), -(-width // SOFT_CELL))
    total = torch.zeros(len(segmenter.info.classes), *cells)
    for scale in scales:
        scaled = resize_image(image, (max(1, round(height * scale)), max(1, round(width * scale))))
        for mirrored in (False, True):
            logits = segmenter.low_res_logits(scaled.flip(-1) if mirrored else scaled)
            probabilities = logits.averaged(cells)[0].softmax(0).cpu()
            total += probabilities.flip(-1) if mirrored else probabilities
    return (total * (255 / (2 * len(scales)))).round().to(torch.uint8)


def load_teacher(name: str, weights: str | None, classes: tuple[str, ...]) -> SegmentationModel:
    """A model file, or a network by its name, trained on VOC, or with a weights file.

    Raises ModelError where its classes are not the data's or it is not trained.
    """
    if comes_untrained(name, weights):
        raise ModelError(f"teacher {name} comes untrained: it needs a weights file (--teacher-weights), or be a model file")
    own = None if is_file_name(name) or weights is None else read_weights_file(Path(weights))[1] or classes
    model = create_model(name, own, weights)
    replace(model.info, architecture=f"teacher {name}").check_classes(classes, "the data")
    return model


def write_soft_labels(
    teacher: str, images: Mapping[str, Path], classes: tuple[str, ...], folder: Path, weights: str | None = None
) -> None:
    """Write ``NAME.npy`` to ``folder`` for those of ``images`` that have none there.

    ``teacher`` is a model's name or file, ``weights`` a file for it; the folder remembers which in ``teacher.json``. Raises
    ModelError where its classes are others or the folder is another teacher's, DataError for an unreadable image.
    """
    writable_folder(folder)
    missing = {name: path for name, path in images.items() if not (folder / f"{name}.npy").exists()}
    segmenter = Segmenter(load_teacher(teacher, weights, classes)) if missing else None
    _sign(folder, teacher, weights)  # after loading: a teacher that is refused shall leave no name
    if segmenter is None:
        return
    for name, path in progress(missing.items(), len(missing), "soft labels"):
        target = folder / f"{name}.npy"
        if not target.exists():  # another process may have been here
            labels = soft_labels(segmenter, read_image(path)).numpy()
            with replacing(target) as temporary, open(temporary, "wb") as file:
                np.save(file, labels)


def _sign(folder: Path, teacher: str, weights: str | None) -> None:
    """Write ``teacher.json``, or raise ModelError where there is one of another teacher.

    Files are told apart by what is in them, not by their names.
    """
    files = [Path(name) for name in (teacher, weights) if name is not None and is_file_name(name)]
    try:
        digests = [hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() for path in files]
    except OSError as error:
        raise ModelError(f"cannot read the teacher {error.filename}: {error.strerror}") from error
    named = {"teacher": teacher, "weights": weights}
    identity = {"name": None if is_file_name(teacher) else teacher, "files": digests}
    path = folder / "teacher.json"
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        write_json(path, named | identity)
        return
    if {key: before.get(key) for key in identity} != identity:
        raise ModelError(
            f"{folder} holds soft labels of another teacher, {before.get('teacher')}; choose another folder, or empty it"
        )
