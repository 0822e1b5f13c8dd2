"""All that a run needs, prepared and checked before anything is written: data, model, schedule, loss."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from vocseg import voc
from vocseg.data.dataset import Batch, SplitDataset
from vocseg.data.layout import VocFolder
from vocseg.data.loader import default_workers, training_batches
from vocseg.data.split_summary import SplitSummary, check_split
from vocseg.data.transforms import Mixing
from vocseg.errors import ModelError, SettingError, reason
from vocseg.models import ModelInfo, SegmentationModel, create_model, read_info
from vocseg.models.adapt import adapt
from vocseg.models.registry import find_family
from vocseg.training.config import PYTHON, TrainConfig
from vocseg.training.datasets import as_transform, augmentation, repeat_counts, training_set, validation_set
from vocseg.training.distillation.distillation import Distillation
from vocseg.training.losses import Criterion, LossFunction, parse_loss
from vocseg.training.optimizer import set_train_mode
from vocseg.utils.distributed import Processes
from vocseg.utils.files import is_file_name
from vocseg.utils.stand_ins import fetched
from vocseg.utils.system import find_device, find_precision
from vocseg.utils.text import counted


@dataclass(frozen=True)
class Schedule:
    """How many iterations an epoch and a run have. Epochs end after whole iterations, so they may differ by one."""

    images: int
    batch_size: int
    total: int

    @classmethod
    def from_config(cls, config: TrainConfig, images: int) -> Schedule:
        """Work out the schedule for a number of training images; SettingError if they do not fill a batch."""
        if config.batch_size > images:
            raise SettingError(
                f"batch_size {config.batch_size} is larger than the split {config.split} of {counted(images, 'image')}; "
                f"use --batch-size {images} or less"
            )
        total = config.iterations or math.ceil(config.epochs * images / config.batch_size)
        return cls(images, config.batch_size, total)

    def end_of_epoch(self, epoch: int) -> int:
        """Return the number of iterations done after epoch 1, 2, ..."""
        return min(self.total, -(-epoch * self.images // self.batch_size))

    def epoch_of(self, iteration: int) -> int:
        """Return the epoch, 1, 2, ..., that an iteration 0, 1, ... belongs to."""
        return next(epoch for epoch in count(1) if self.end_of_epoch(epoch) > iteration)

    @property
    def epochs(self) -> int:
        """The epoch, 1, 2, ..., that ends with the last iteration."""
        return (self.total - 1) * self.batch_size // self.images + 1


@dataclass(frozen=True)
class TrainSetup:
    """A run before it starts; in ``config`` device, precision and workers are resolved."""

    config: TrainConfig
    processes: Processes
    train_set: SplitDataset
    val_set: SplitDataset
    summaries: tuple[SplitSummary, SplitSummary]
    schedule: Schedule
    model: SegmentationModel
    unused_parameters: bool
    """Whether parameters of the model get no gradient, as far as several processes need to know."""
    criterion: Criterion
    distillation: Distillation | None
    repeats: Tensor | None
    starts_trained: bool = False
    """Whether the model is trained for the data's classes before the run, which is then scored as epoch 0."""

    @property
    def precision(self) -> torch.dtype:
        """The data type of autocast."""
        return find_precision(self.config.precision, self.processes.device)

    def batches(self, start: int = 0) -> Generator[Batch]:
        """Yield this process's share of the batches from iteration ``start`` on; close it to end the loader."""
        config = self.config
        mixing = Mixing(config.cutmix, config.cutmix if config.distills else 0.0) if config.cutmix else None
        return training_batches(
            self.train_set, config.batch_size, config.workers or 0, config.seed, start, self.processes.shard, self.repeats, mixing,
            config.shuffle_buffer,
        )  # fmt: skip

    def describe(self) -> list[str]:
        """Describe the run in lines."""
        config, schedule = self.config, self.schedule
        lines = [summary.describe() for summary in self.summaries]
        if shared := len(set(self.train_set.names) & set(self.val_set.names)):
            lines.append(
                f"warning: {shared:,} of the {len(self.val_set):,} validation images are training images too; "
                "validation scores overestimate how well the model does on new images"
            )
        if unlabeled := len(self.train_set) - len(self.train_set.masked):
            lines.append(f"{counted(unlabeled, 'unlabeled image')}, learned from the teacher only")
        weights = f", weights {config.weights}" if config.weights is not None else ""
        lines.append(
            f"{counted(schedule.total, 'iteration')} of {counted(schedule.batch_size, 'image')}, "
            f"{counted(schedule.epochs, 'epoch')}; {config.model}{weights} on {config.device} in {config.precision}"
        )
        mixed = {"copy-paste": config.copy_paste, "CutMix": config.cutmix, "mixup": config.cutmix * config.distills}
        if any(mixed.values()):
            lines.append("probability of " + ", ".join(f"{name} {value:g}" for name, value in mixed.items() if value))
        loss = config.loss + f", class weights {config.class_weights}" * (config.class_weights != "none")
        loss += f", auxiliary {config.aux_weight:g}" * (config.aux_weight != Criterion.aux_weight)
        average = f", moving average {config.ema:g}" * bool(config.ema)
        lines.append(f"{config.optimizer}, learning rate {config.lr:g}, {config.schedule}{average}; loss {loss}")
        if self.distillation is not None:
            source = f"soft labels {config.soft_labels}" if config.soft_labels else f"teacher {config.teacher} on each batch"
            lines.append(f"distillation from {source}" + ", and from its features" * (self.distillation.hints is not None))
        return lines


def prepare(
    config: TrainConfig,
    processes: Processes | None = None,
    *,
    network: nn.Module | None = None,
    loss: LossFunction | None = None,
    transform: Callable[..., Any] | None = None,
) -> TrainSetup:
    """Read and check the data and build the model.

    ``network``, ``loss`` and ``transform`` replace what the settings name; see :func:`vocseg.train`. Raises
    SettingError, DataError and ModelError.
    """
    processes = processes or Processes(find_device(config.device))
    config = _resolve(config, processes)
    _check_objects(config, loss, transform)
    terms = ((1.0, PYTHON),) if loss else parse_loss(config.loss)
    folder = VocFolder.find(config.data, config.mask_dir)
    if loss is not None:
        _try_loss(loss, len(folder.classes), processes.device)
    train_set, val_set = training_set(config, folder, processes), validation_set(config, folder)
    schedule = Schedule.from_config(config, len(train_set))
    summaries = processes.from_main(lambda: (check_split(train_set), check_split(val_set)))
    size = (config.crop, config.crop)
    if transform is not None:
        train_set.transform = as_transform(transform)
        try:
            size = tuple(train_set[0, 0].mask.shape)  # type: ignore[assignment]
        except TypeError as error:
            raise SettingError(f"transform(image, mask) failed: {reason(error)}; it must take and return both") from error
    else:
        train_set.transform = augmentation(config, train_set, summaries[0])
    trained = _starts_trained(config, folder.classes, network)
    model = _build_model(config, folder, train_set, network)
    unused = _try_step(model, config, processes.count, size)
    weights = summaries[0].class_weights() if config.class_weights == "auto" else None
    criterion = Criterion(terms, weights, config.aux_weight, loss).to(processes.device)
    distillation = Distillation.prepare(config, model, find_precision(config.precision, processes.device))
    repeats = repeat_counts(config, train_set, summaries[0])
    return TrainSetup(
        config, processes, train_set, val_set, summaries, schedule, model, unused, criterion, distillation, repeats, trained
    )


def _resolve(config: TrainConfig, processes: Processes) -> TrainConfig:
    """Replace ``auto`` and None by the device, precision and number of workers that are used."""
    images, count = config.batch_size // config.accumulate, processes.count
    if images % count:
        raise SettingError(f"batch_size {images} cannot be shared by {count} processes; use a multiple of {count}")
    device: Any = processes.device.type
    precision: Any = str(find_precision(config.precision, processes.device)).removeprefix("torch.")
    workers = default_workers() if config.workers is None else config.workers
    return replace(config, device=device, precision=precision, workers=workers)


def _check_objects(config: TrainConfig, loss: object, transform: object) -> None:
    """Raise SettingError if the settings say that an object was passed from Python, and it was not."""
    for name, value, given in (("loss", config.loss, loss), ("transform", config.augment, transform)):
        if value == PYTHON and given is None:
            raise SettingError(f"this run uses a {name} passed from Python: pass it again, vocseg.train(..., {name}=...)")


def _build_model(config: TrainConfig, folder: VocFolder, train_set: SplitDataset, network: nn.Module | None) -> SegmentationModel:
    torch.manual_seed(config.seed)
    kind, _, name = config.model.partition(":")
    if network is not None:
        model = adapt(network, ModelInfo(type(network).__name__, folder.classes))
        model.info.check_classes(folder.classes, str(folder.root))
    elif kind == PYTHON:
        try:
            model = create_model(name, folder.classes, "none")
        except ModelError:
            text = f"this run uses a model passed from Python: pass {name} again, vocseg.train(..., model=...)"
            raise SettingError(text) from None
    else:
        model = create_model(config.model, folder.classes, config.weights)
    if config.freeze == "backbone" and not model.backbone():
        raise SettingError(f"{model.info.architecture} has no backbone to freeze")
    if not config.aux_weight:
        model.without_auxiliary()
    model.info = replace(
        model.info,
        short_side=config.crop if config.augment == "center-square" else model.info.short_side,
        trained_on=f"{folder.name} {config.split} ({len(train_set.masked)} images, masks {config.mask_dir})",
        scores={},
        license=None,
        temperature=1.0,
    )
    return model


def _try_loss(loss: LossFunction, classes: int, device: torch.device) -> None:
    """Raise SettingError unless a user's loss returns a scalar with a gradient."""
    logits = torch.zeros(2, classes, 8, 8, device=device, requires_grad=True)
    called = "loss is called with logits (float32, N x classes x H x W) and masks (int64, N x H x W, 255 = void)"
    try:
        value = copy.deepcopy(loss)(logits, torch.zeros(2, 8, 8, dtype=torch.int64, device=device))
    except Exception as error:
        raise SettingError(f"{called}, and failed: {reason(error)}") from error
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
        kind = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        missing = " without a gradient" if isinstance(value, Tensor) and not value.requires_grad else ""
        raise SettingError(f"{called} and must return a scalar tensor with a gradient, not {kind}{missing}")


def _starts_trained(config: TrainConfig, classes: tuple[str, ...], network: nn.Module | None) -> bool:
    if network is not None:
        return isinstance(network, SegmentationModel) and network.info.trained_on is not None
    source = config.model
    if not is_file_name(source):
        if source.partition(":")[0] == PYTHON:
            return False
        source = config.weights or find_family(source).weights[0]
        if source in find_family(config.model).weights:
            return source in ("coco", "voc") and set(classes) <= set(voc.CLASSES)
    source = source if config.weights is None else config.weights
    path = fetched(source)
    if path.suffix != ".safetensors" or not path.is_file():
        return True  # the classes of weights of other programs are not known
    try:
        return set(classes) <= set(read_info(path).classes)
    except ModelError:
        return True


def _try_step(model: SegmentationModel, config: TrainConfig, processes: int, size: tuple[int, int]) -> bool:
    """Run the model once; return whether, with several processes, parameters get no gradient.

    Raises SettingError if it cannot train on images of that size.
    """
    images = max(1, min(2, config.batch_size // (config.accumulate * processes)))
    probe = copy.deepcopy(model)
    set_train_mode(probe, config.freeze)
    try:
        with torch.set_grad_enabled(processes > 1):
            outputs = probe.low_res_logits(torch.zeros(images, 3, *size, dtype=torch.uint8, device=model.mean.device))
            if processes == 1:
                return False
            heads = ("out", "aux") if config.aux_weight else ("out",)
            sums = [outputs[name].values.sum() for name in heads if name in outputs]
            torch.stack(sums).sum().backward()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        parts = config.accumulate * processes
        hint = f" (batch norm needs more than one image: --batch-size {2 * parts} or more)" if images == 1 else ""
        reason = str(error).splitlines()[0]
        raise SettingError(f"{model.info.architecture} cannot train with crop {size[0]}{hint}: {reason}") from error
    return any(parameter.requires_grad and parameter.grad is None for parameter in probe.parameters())
