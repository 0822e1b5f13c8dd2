"""The data of a run: training and validation sets, augmentation, how often images are drawn."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vocseg import voc
from vocseg.data.dataset import SplitDataset, Transform
from vocseg.data.layout import VocFolder
from vocseg.data.packed import read_bytes
from vocseg.data.split_summary import SplitSummary, repeat_factors
from vocseg.data.transforms import ColorJitter, Compose, CopyPaste, from_v2
from vocseg.data.transforms.geometry import training_transform
from vocseg.errors import DataError, SettingError, nearest
from vocseg.training.config import TrainConfig
from vocseg.training.distillation.soft_labels import (
    SOFT_CELL,
    DistillationDataset,
    classes_shown,
    images_without_masks,
    read_soft_labels,
)
from vocseg.training.distillation.teacher import write_soft_labels
from vocseg.utils.distributed import Processes


def training_set(config: TrainConfig, folder: VocFolder, processes: Processes) -> SplitDataset:
    """Return the training split, with unlabeled images and soft labels if configured; missing ones are computed."""
    if config.distills and config.crop % SOFT_CELL:
        raise SettingError(f"crop {config.crop} must be a multiple of {SOFT_CELL} with a teacher or soft labels")
    if config.shuffle_buffer and (folder.packed is None or config.unlabeled is not None):
        what = "unlabeled images" if folder.packed else f"{folder.root}, which is not packed (`vocseg data pack` does that)"
        raise SettingError(f"shuffle_buffer is for packed data, not for {what}; leave it 0")
    unlabeled = {} if config.unlabeled is None else images_without_masks(Path(config.unlabeled))
    _check_unlabeled(unlabeled, folder, config)
    soft_labels = None if config.soft_labels is None else Path(config.soft_labels)
    if config.teacher is not None and soft_labels is not None:
        images = {name: folder.image(name) for name in folder.ids(config.split)} | unlabeled
        write_soft_labels(config.teacher, images, folder.classes, soft_labels, processes.device.type, processes.shard)
        processes.any(False)  # wait for the others' shards
    return DistillationDataset(folder, config.split, soft_labels, unlabeled)


def validation_set(config: TrainConfig, folder: VocFolder) -> SplitDataset:
    """Return the validation split, with the official masks if they exist: those of trainaug have another folder."""
    mask_dir = voc.MASKS if folder.has(voc.MASKS) else config.mask_dir
    folder = VocFolder.find(config.data, mask_dir)
    if config.val_split not in folder.splits:
        without = f"to train without one, use val_split {config.split}, whose scores say little about new images"
        make = f"to draw one, `vocseg data convert {config.data} OUT --from voc --splits 0.8/0.2`"
        known = f"no split list {folder.root / voc.SPLITS / config.val_split}.txt{nearest(config.val_split, folder.splits)}"
        raise DataError(f"{known} (lists there: {', '.join(folder.splits) or 'none'}); {without}; {make}")
    return SplitDataset(folder, config.val_split)


def _check_unlabeled(images: dict[str, Path], folder: VocFolder, config: TrainConfig) -> None:
    """Raise SettingError if unlabeled images are validation images, or have the name of a training image."""
    for name in folder.listed(config.val_split) if images else ():
        if name in images and read_bytes(images[name]) == read_bytes(folder.image(name)):
            raise SettingError(f"{images[name]} is an image of the split {config.val_split}: remove it from {config.unlabeled}")
    twice = next((name for name in folder.listed(config.split) if name in images), None)
    if twice is not None:
        raise SettingError(f"{images[twice]} has the name of an image of the split {config.split}: rename it")


def augmentation(config: TrainConfig, dataset: SplitDataset, summary: SplitSummary) -> Transform:
    """Return the transform that the settings describe."""
    geometric = training_transform(config.augment, config.crop)
    transforms = [geometric]
    if config.copy_paste:
        plain = partial(SplitDataset.read, dataset)  # pasted objects are certain: no soft labels are read for them
        transforms.append(CopyPaste(plain, summary.images_of(), geometric, config.copy_paste))
    if config.color_jitter:
        transforms.append(ColorJitter(config.color_jitter))
    return Compose(tuple(transforms))


def as_transform(transform: Callable[..., Any]) -> Transform:
    """Return a transform of samples as it is; adapt one of images and masks, as torchvision's v2 are."""
    try:
        parameters = list(inspect.signature(transform).parameters)
    except (TypeError, ValueError):
        parameters = []
    return transform if "generator" in parameters else from_v2(transform)


def repeat_counts(config: TrainConfig, dataset: SplitDataset, summary: SplitSummary) -> Tensor | None:
    """Return how often each image is drawn; unlabeled ones by the classes of their soft labels, if they have any."""
    if not config.repeat_threshold:
        return None
    unlabeled = dataset.names[len(summary.labels) :]
    shown = torch.zeros(len(unlabeled), 256, dtype=torch.bool)
    if config.soft_labels is not None:
        for place, name in enumerate(unlabeled):
            soft = read_soft_labels(Path(config.soft_labels) / f"{name}.npy", len(summary.classes))
            shown[place, : len(summary.classes)] = classes_shown(soft)
    return repeat_factors([*summary.labels, *shown], len(summary.classes), config.repeat_threshold)
