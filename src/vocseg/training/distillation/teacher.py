"""A teacher: on batches as they are trained on, or on whole images, once, before training."""

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
from vocseg.inference.augment import SCALES
from vocseg.inference.segmenter import Segmenter
from vocseg.models import SegmentationModel, create_model
from vocseg.models.registry import comes_untrained
from vocseg.ops.low_res_logits import LowResLogits
from vocseg.training.distillation.features import recorded
from vocseg.training.distillation.soft_labels import SOFT_CELL
from vocseg.utils.files import is_file_name, replacing, writable_folder, write_json
from vocseg.utils.progress import progress
from vocseg.utils.stand_ins import fetched
from vocseg.utils.system import autocast


def load_teacher(name: str, classes: tuple[str, ...]) -> SegmentationModel:
    """Load a trained model by name or file; ModelError if it is untrained or has other classes than the data."""
    if comes_untrained(name, None):
        raise ModelError(f"teacher {name} has no trained weights; give a model file")
    model = create_model(name)
    replace(model.info, architecture=f"teacher {name}").check_classes(classes, "the data")
    return model


class Teacher:
    """A trained model that runs on each batch: Beyer et al., "A good teacher is patient and consistent" (2022)."""

    def __init__(self, model: SegmentationModel, precision: torch.dtype) -> None:
        self.model = model.eval().requires_grad_(False)
        self.precision = precision

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, dict[str, LowResLogits]]:
        """Compute soft labels of images (uint8, N x 3 x H x W) and the named features, as of the images' size."""
        height, width = images.shape[2:]
        with autocast(images.device, self.precision), recorded(self.model.features) as features:
            logits = self.model.low_res_logits(images)["out"]
        probabilities = logits.averaged((height // SOFT_CELL, width // SOFT_CELL)).softmax(1)
        soft = probabilities.mul_(255).round_().to(torch.uint8)
        return soft, {name: self.model.upsample(values.float(), height, width) for name, values in features.items()}


def soft_labels(segmenter: Segmenter, image: Tensor, scales: Sequence[float] = SCALES["multiscale"]) -> Tensor:
    """Compute class probabilities of an image (uint8 RGB, 3 x H x W) on a grid of cells of ``SOFT_CELL`` pixels.

    uint8 (255 = 1), classes x h x w. The mean over scales, each as it is and flipped, of the softmax of each cell's
    mean logits.
    """
    height, width = image.shape[1:]
    cells = (-(-height // SOFT_CELL), -(-width // SOFT_CELL))
    total = torch.zeros(len(segmenter.info.classes), *cells)
    for scale in scales:
        scaled = resize_image(image, (max(1, round(height * scale)), max(1, round(width * scale))))
        logits = segmenter.low_res_logits(torch.stack([scaled, scaled.flip(-1)]))
        plain, flipped = logits.averaged(cells).softmax(1).cpu()
        total += plain + flipped.flip(-1)
    return (total * (255 / (2 * len(scales)))).round().to(torch.uint8)


def write_soft_labels(
    teacher: str,
    images: Mapping[str, Path],
    classes: tuple[str, ...],
    folder: Path,
    device: str = "auto",
    shard: tuple[int, int] = (0, 1),
) -> None:
    """Write ``NAME.npy`` to ``folder`` for those of ``images`` that have none there.

    ``teacher`` is a model's name or file, which ``teacher.json`` in the folder records. Of several processes each
    writes a ``shard`` (number, of how many). Raises ModelError if the teacher has other classes or the folder belongs
    to another teacher, DataError for an unreadable image.
    """
    writable_folder(folder)
    names = sorted(images)[shard[0] :: shard[1]]
    missing = {name: images[name] for name in names if not (folder / f"{name}.npy").exists()}
    model = load_teacher(teacher, classes) if missing else None
    _record_teacher(folder, teacher)  # after loading: a teacher that cannot be used must not be recorded
    if model is None:
        return
    segmenter = Segmenter(model, device=device, engine="torch")
    for name, path in progress(missing.items(), len(missing), "soft labels"):
        labels = soft_labels(segmenter, read_image(path)).numpy()
        with replacing(folder / f"{name}.npy") as temporary, open(temporary, "wb") as file:
            np.save(file, labels)


def _record_teacher(folder: Path, teacher: str) -> None:
    """Write ``teacher.json``, or raise ModelError if it names another teacher. Files are compared by their contents."""
    try:
        digest = hashlib.blake2b(fetched(teacher).read_bytes(), digest_size=16).hexdigest() if is_file_name(teacher) else teacher
    except OSError as error:
        raise ModelError(f"cannot read the teacher {error.filename}: {error.strerror}") from error
    path = folder / "teacher.json"
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        write_json(path, {"teacher": teacher, "digest": digest})
        return
    if before.get("digest") != digest:
        raise ModelError(f"{folder} holds soft labels of another teacher, {before.get('teacher')}; choose another folder")
