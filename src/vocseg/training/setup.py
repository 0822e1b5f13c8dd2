"""What a run is to do, worked out and checked before anything is written: data, model, plan, loss."""

from __future__ import annotations

import copy
import math
from collections.abc import Generator
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import torch

from vocseg import voc
from vocseg.data.dataset import Batch, SplitDataset, Transform
from vocseg.data.layout import VocFolder
from vocseg.data.loader import default_workers, training_batches
from vocseg.data.sampling import repeat_factors
from vocseg.data.split_summary import SplitSummary, check_split
from vocseg.data.transforms.color import ColorJitter
from vocseg.data.transforms.copy_paste import CopyPaste
from vocseg.data.transforms.cutmix import Mixing
from vocseg.data.transforms.geometry import Compose, training_transform
from vocseg.errors import DataError, SettingError
from vocseg.models import SegmentationModel, create_model
from vocseg.training.config import TrainConfig
from vocseg.training.distillation.features import Hints, Teacher
from vocseg.training.distillation.soft_labels import (
    SOFT_CELL,
    DistillationDataset,
    classes_shown,
    images_without_masks,
    read_soft_labels,
)
from vocseg.training.distillation.teacher import load_teacher, write_soft_labels
from vocseg.training.distributed import launched
from vocseg.training.losses import Criterion, parse_loss
from vocseg.utils.system import find_device, find_precision
from vocseg.utils.text import counted


@dataclass(frozen=True)
class Plan:
    """How many iterations an epoch and a run have. Epochs are cut at whole iterations, so they may differ by one."""

    images: int
    batch_size: int
    total: int

    @classmethod
    def of(cls, settings: TrainConfig, images: int) -> Plan:
        if settings.batch_size > images:
            raise SettingError(
                f"batch_size {settings.batch_size} is larger than the split {settings.split} of {images} images; "
                f"--batch-size {images} at most"
            )
        total = settings.iterations or math.ceil(settings.epochs * images / settings.batch_size)
        return cls(images, settings.batch_size, total)

    def end_of_epoch(self, epoch: int) -> int:
        """The iteration after the last one of an epoch 1, 2, ..."""
        return min(self.total, -(-epoch * self.images // self.batch_size))

    def epoch_of(self, iteration: int) -> int:
        """The epoch, 1, 2, ..., that an iteration 0, 1, ... belongs to."""
        return next(epoch for epoch in count(1) if self.end_of_epoch(epoch) > iteration)

    @property
    def epochs(self) -> int:
        """The epoch, 1, 2, ..., that ends with the last iteration."""
        return (self.total - 1) * self.batch_size // self.images + 1


@dataclass(frozen=True)
class Job:
    """A run before it starts; ``settings`` have device, precision and the like worked out."""

    settings: TrainConfig
    train_set: SplitDataset
    val_set: SplitDataset
    summaries: tuple[SplitSummary, SplitSummary]
    model: SegmentationModel
    criterion: Criterion
    plan: Plan
    repeats: torch.Tensor | None = None
    teacher: Teacher | None = None
    hints: Hints | None = None

    @property
    def device(self) -> torch.device:
        return find_device(self.settings.device)

    @property
    def precision(self) -> torch.dtype:
        return find_precision(self.settings.precision, self.device)

    def to(self, device: torch.device) -> None:
        """Move all networks of the run to a device."""
        for network in (self.model, self.hints, None if self.teacher is None else self.teacher.model):
            if network is not None:
                network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def batches(self, start: int = 0, shard: tuple[int, int] = (0, 1)) -> Generator[Batch]:
        """Training batches from iteration ``start`` on, mixed where wanted, to be closed; see :func:`training_batches`."""
        settings = self.settings
        mixing = Mixing(settings.cutmix, settings.mixup) if settings.cutmix or settings.mixup else None
        return training_batches(
            self.train_set, settings.batch_size, settings.workers or 0, settings.seed, start, shard, self.repeats, mixing
        )

    def describe(self) -> list[str]:
        """The plan in lines."""
        settings, plan = self.settings, self.plan
        extra = len(self.train_set) - len(self.train_set.masked)
        taught = settings.teacher or settings.soft_labels
        asked = " asked about each batch," if settings.soft_labels is None else ""
        hints = f", from its features with {settings.hint_weight:g}" if settings.hint_weight else ""
        chances = {"copy-paste": settings.copy_paste, "CutMix": settings.cutmix, "mixup": settings.mixup}
        mixed = ", ".join(f"{name} {chance:g}" for name, chance in chances.items() if chance)
        start = f" with weights {settings.weights}" if settings.weights is not None else ""
        further = f", class weights {settings.class_weights}" * (settings.class_weights != "none")
        further += f", moving average of the weights {settings.ema:g}" * bool(settings.ema)
        return [
            *(summary.describe() for summary in self.summaries),
            *([f"{counted(extra, 'image')} without masks, learned from the teacher alone"] if extra else []),
            f"{counted(plan.total, 'iteration')} of {counted(plan.batch_size, 'image')}, {counted(plan.epochs, 'epoch')}; "
            f"{settings.model}{start} on {settings.device} in {settings.precision}",
            *([f"probability of {mixed}"] if mixed else []),
            f"{settings.optimizer}, learning rate {settings.lr:g}, {settings.schedule}; loss {settings.loss}{further}",
            *([f"learned from {taught} as well,{asked} with weight {settings.distill_weight:g}{hints}"] if taught else []),
        ]


def prepare(settings: TrainConfig) -> Job:
    """Read and check the data, build the model; raises SettingError, DataError and ModelError."""
    device = find_device(settings.device)
    precision = find_precision(settings.precision, device)
    terms = parse_loss(settings.loss)
    folder = VocFolder.find(settings.data, settings.mask_dir)
    train_set = _training_set(settings, folder)
    val_mask_dir = voc.MASKS if (folder.root / voc.MASKS).is_dir() else settings.mask_dir
    val_set = SplitDataset(VocFolder.find(settings.data, val_mask_dir), settings.val_split)
    plan = Plan.of(settings, len(train_set))
    summaries = (check_split(train_set), check_split(val_set))
    if settings.soft_labels is None and settings.teacher is None and not int(summaries[0].pixels[: len(folder.classes)].sum()):
        raise DataError(f"every mask of {settings.split} is void throughout: there is nothing to learn")
    train_set.transform = _training_transform(settings, settings.crop, train_set, summaries[0])
    weights = _class_weights(settings.class_weights, summaries[0])
    criterion = Criterion(terms, None if weights is None else weights.to(device), 0.0, settings.aux_weight)
    torch.manual_seed(settings.seed)
    model = create_model(settings.model, folder.classes, settings.weights)
    model.info = replace(
        model.info,
        short_side=settings.eval_short_side or model.info.short_side,
        trained_on=f"{folder.root.name} {settings.split} ({len(train_set.masked)} images, masks {settings.mask_dir})",
        scores={},
    )
    _try_forward(model, settings.batch_size, settings.accumulate * launched(), settings.crop)
    if settings.freeze == "backbone" and not model.backbone():
        raise SettingError(f"{model.info.architecture} has no backbone that freeze could hold back")
    settings = replace(
        settings,
        device=_word(device.type),
        precision=_word(precision),
        workers=default_workers() if settings.workers is None else settings.workers,
    )
    repeats = _repeats(settings, train_set, summaries[0])
    teacher = _teacher(settings, folder.classes, precision)
    hints = Hints(model, teacher.model) if teacher is not None and settings.hint_weight else None
    return Job(settings, train_set, val_set, summaries, model, criterion, plan, repeats, teacher, hints)


def _training_set(settings: TrainConfig, folder: VocFolder) -> SplitDataset:
    in_cells = settings.soft_labels or settings.teacher or settings.cutmix or settings.mixup
    if in_cells and settings.crop % SOFT_CELL:
        raise SettingError(f"crop {settings.crop} must be a multiple of {SOFT_CELL} with soft labels, a teacher, or mixed images")
    extra = {} if settings.unlabeled is None else images_without_masks(Path(settings.unlabeled))
    _keep_apart(extra, folder, settings)
    soft_labels = None if settings.soft_labels is None else Path(settings.soft_labels)
    if settings.teacher is not None and soft_labels is not None:
        masked = {name: folder.image(name) for name in folder.ids(settings.split)}
        write_soft_labels(settings.teacher, masked | extra, folder.classes, soft_labels)
    return DistillationDataset(folder, settings.split, soft_labels, extra)


def _keep_apart(extra: dict[str, Path], folder: VocFolder, settings: TrainConfig) -> None:
    """Raise SettingError where images without masks are validation images, or have the name of a training image."""
    for name in folder.listed(settings.val_split) if extra else ():
        if name in extra and extra[name].read_bytes() == folder.image(name).read_bytes():
            raise SettingError(f"{extra[name]} is an image of the split {settings.val_split}: it must not be learned from")
    twice = next((name for name in folder.listed(settings.split) if name in extra), None)
    if twice is not None:
        raise SettingError(f"{extra[twice]} has the name of an image of the split {settings.split}; names tell images apart")


def _teacher(settings: TrainConfig, classes: tuple[str, ...], precision: torch.dtype) -> Teacher | None:
    """The teacher that is asked about batches, for its probabilities or its features, if one is."""
    if settings.teacher is None or (settings.soft_labels is not None and not settings.hint_weight):
        return None
    return Teacher(load_teacher(settings.teacher, None, classes), precision)


def _training_transform(settings: TrainConfig, crop: int, dataset: SplitDataset, summary: SplitSummary) -> Transform:
    geometric = training_transform(settings.augment, crop)
    transforms = [geometric]
    if settings.copy_paste:
        plain = partial(SplitDataset.read, dataset)  # what is pasted is certain: no soft labels are read for it
        transforms.append(CopyPaste(plain, summary.images_of(), geometric, settings.copy_paste))
    if settings.color_jitter:
        transforms.append(ColorJitter(settings.color_jitter))
    return Compose(tuple(transforms))


def _repeats(settings: TrainConfig, dataset: SplitDataset, summary: SplitSummary) -> torch.Tensor | None:
    """How often each image is to be seen; those without a mask show what their soft labels say, or nothing that counts."""
    if not settings.repeat_threshold:
        return None
    extra = dataset.names[len(summary.labels) :]
    shown = torch.zeros(len(extra), 256, dtype=torch.bool)
    if settings.soft_labels is not None:
        for place, name in enumerate(extra):
            shown[place, : len(summary.classes)] = classes_shown(
                read_soft_labels(Path(settings.soft_labels) / f"{name}.npy", len(summary.classes))
            )
    return repeat_factors([*summary.labels, *shown], len(summary.classes), settings.repeat_threshold)


def _class_weights(text: str, summary: SplitSummary) -> torch.Tensor | None:
    """The ``class_weights`` of the settings as a tensor, None for none."""
    if text == "none":
        return None
    return torch.as_tensor(summary.class_weights(), dtype=torch.float32)


def _try_forward(model: SegmentationModel, batch_size: int, parts: int, crop: int) -> None:
    """Raise SettingError where the model cannot train on crops of that size, before anything is written.

    ``parts`` is how many parts a step's images are cut into, over all processes.
    """
    images = max(1, min(2, batch_size // parts))
    probe = copy.deepcopy(model).train()
    try:
        with torch.no_grad():
            probe(torch.zeros(images, 3, crop, crop, dtype=torch.uint8))
    except (RuntimeError, ValueError) as error:
        hint = f" (batch normalization needs more than one image: --batch-size {2 * parts} or more)" if images == 1 else ""
        reason = str(error).splitlines()[0]
        raise SettingError(f"{model.info.architecture} cannot train with crop {crop}{hint}: {reason}") from error


def _word(value: object) -> Any:
    """The setting's word for a device type or dtype."""
    return str(value).removeprefix("torch.")
