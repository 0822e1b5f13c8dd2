"""The settings of a training run: documented defaults, TOML files, checks."""

from __future__ import annotations

import math
import numbers
import os
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_type_hints

from vocseg import voc
from vocseg.errors import DataError, SettingError, nearest, shown
from vocseg.utils.arguments import check
from vocseg.utils.files import read_text, write_text

T = TypeVar("T")

GROUPS = ("data", "model", "schedule", "augmentation", "loss", "distillation", "checkpoints", "machine")
"""The groups of settings in `vocseg train --help`, in order; each field names its group in its metadata."""

PYTHON = "python"
"""Value, or prefix of the value, of a setting whose object was passed to :func:`vocseg.train` instead of a name."""


def _setting(group: str, default: T, low: float = 0, high: float = math.inf) -> T:
    value: T = field(default=default, metadata={"group": group, "low": low, "high": high})
    return value


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run; the defaults are the recipe ``default``.

    Raises SettingError for a value of the wrong type or out of range and for settings that do not go together.

    >>> TrainConfig(epochs=50).lr
    0.002
    """

    data: str = _setting("data", "data")
    """Folder that contains VOCdevkit, VOCdevkit itself, a folder in VOC layout, or one packed by `data pack`."""
    split: str = _setting("data", "train")
    """Split to train on."""
    val_split: str = _setting("data", "val")
    """Split to validate on after each epoch."""
    mask_dir: str = _setting("data", voc.MASKS)
    """Folder of the training masks, e.g. SegmentationClassAug. Validation uses SegmentationClass if it exists."""
    shuffle_buffer: int = _setting("data", 0)
    """Read packed data in sequence, shard after shard in random order, and draw from this many images at a time; 0:
    shuffle all images, which reads them in the order of a folder's."""

    model: str = _setting("model", "deeplabv3_resnet101")
    """Model name or model file; `vocseg models` lists the names."""
    weights: str | None = _setting("model", None)
    """Initial weights: coco, voc, backbone, none (see `vocseg models`) or a file; by default the best available."""
    freeze: Literal["none", "batch-norm", "backbone"] = _setting("model", "none")
    """Keep part of the network fixed: batch norm statistics and weights, or the whole backbone (encoder)."""

    epochs: float = _setting("schedule", 30, 0, 1e6)
    """Passes over the training images, unlabeled ones included."""
    iterations: int | None = _setting("schedule", None, 1, 1e9)
    """Optimizer steps, instead of epochs."""
    batch_size: int = _setting("schedule", 8, 1)
    """Images per optimizer step, over all processes."""
    accumulate: int = _setting("schedule", 1, 1)
    """Gradient accumulation steps. Batch norm statistics are computed per micro-batch."""
    optimizer: Literal["sgd", "adamw"] = _setting("schedule", "sgd")
    """SGD with momentum 0.9; or AdamW, which decays no biases and normalization layers, on gradients of norm 5 at most."""
    lr: float = _setting("schedule", 0.002)
    """Base learning rate."""
    head_lr_factor: float = _setting("schedule", 10.0)
    """Learning rate multiplier of the classification layers."""
    backbone_lr_factor: float = _setting("schedule", 1.0)
    """Learning rate multiplier of the pretrained backbone (encoder)."""
    weight_decay: float = _setting("schedule", 1e-4)
    """Weight decay."""
    schedule: Literal["poly", "cosine", "constant"] = _setting("schedule", "poly")
    """Decay of the learning rate over the run: poly is (1 - t)^0.9, cosine (1 + cos(pi t)) / 2."""
    warmup: int = _setting("schedule", 0)
    """Iterations of linear learning rate warmup."""
    ema: float = _setting("schedule", 0.0, 0, 1 - 1e-9)
    """Decay of an exponential moving average of the weights, which is validated and saved as well; 0 disables it."""
    patience: int = _setting("schedule", 0)
    """Stop after this many epochs without a better validation mIoU; 0 disables it."""

    augment: Literal["scale-crop", "center-square", "python"] = _setting("augmentation", "scale-crop")
    """scale-crop: random scale 0.5 to 2, random crop, random flip. center-square: largest centered square, resized;
    validation and later prediction resize images to that shorter side. python: the transform passed to vocseg.train."""
    crop: int = _setting("augmentation", 480, 1, 16384)
    """Side of the training images in pixels."""
    color_jitter: float = _setting("augmentation", 0.0, 0, 1)
    """Color jitter strength s: brightness, contrast and saturation in [1 - s, 1 + s], hue shift up to s / 4."""
    copy_paste: float = _setting("augmentation", 0.0, 0, 1)
    """Probability of pasting the objects of another training image, with rare classes as often as common ones."""
    repeat_threshold: float = _setting("augmentation", 0.0, 0, 1)
    """Oversample images with rare classes: classes in less than this fraction of images (LVIS); 0 disables it."""
    cutmix: float = _setting("augmentation", 0.0, 0, 1)
    """Probability of replacing a rectangle by that of another image of the batch, with its mask. With a teacher, as
    many images are blended with another (mixup) and learned from the teacher only."""

    loss: str = _setting("loss", "cross-entropy")
    """Weighted sum of cross-entropy, ohem, focal, dice and lovasz, e.g. ohem+0.5*dice."""
    aux_weight: float = _setting("loss", 0.4, 0)
    """Weight of the same loss on an auxiliary head; 0 trains without that head."""
    class_weights: Literal["none", "auto"] = _setting("loss", "none")
    """Class weights in the cross entropy. auto: median frequency balancing over the training masks."""

    teacher: str | None = _setting("distillation", None)
    """Teacher model for knowledge distillation: a trained model's name or file. It runs on each batch, unless
    --soft-labels is given. Scale --loss (0.5*cross-entropy) to weigh the teacher against the masks."""
    soft_labels: str | None = _setting("distillation", None)
    """Folder of precomputed teacher probabilities (NAME.npy) of whole images, multi-scale and flipped; missing ones are
    computed by --teacher."""
    unlabeled: str | None = _setting("distillation", None)
    """Folder of images without masks, learned from the teacher only."""

    out: str | None = _setting("checkpoints", None)
    """Run folder, or its URL; by default runs/MODEL, numbered if it exists."""
    tensorboard: bool = _setting("checkpoints", False)
    """Also write scalars and validation overlays for TensorBoard."""

    seed: int = _setting("machine", 0, 0, 2**63 - 1)
    """Random seed."""
    device: Literal["auto", "cpu", "cuda", "mps"] = _setting("machine", "auto")
    """Device to train on."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = _setting("machine", "auto")
    """Autocast precision; auto: bfloat16 if the device supports it in hardware. float16 requires a GPU."""
    compile: bool = _setting("machine", False)
    """Compile the network with torch.compile."""
    workers: int | None = _setting("machine", None, 0, 256)
    """Data loader processes; by default half the cores, at most 8."""

    def __post_init__(self) -> None:
        for name, value in check_values({item.name: getattr(self, item.name) for item in fields(self)}, "TrainConfig").items():
            object.__setattr__(self, name, value)
        for item in fields(self):
            value, low, high = getattr(self, item.name), item.metadata["low"], item.metadata["high"]
            if isinstance(value, str | NoneType | bool):
                continue
            if not math.isfinite(value):
                raise SettingError(f"{item.name} must be a finite number, not {value}")
            if not low <= value <= high:
                limit = f"at least {low:g}" if value < low else f"at most {high:g}"
                raise SettingError(f"{item.name} must be {limit}, not {value:g}")
        if self.epochs == 0:
            raise SettingError("epochs must be above 0")
        if self.batch_size % self.accumulate:
            raise SettingError(f"batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}")
        if self.distills and self.cutmix > 0.5:
            raise SettingError(f"cutmix with a teacher is also the probability of mixup: at most 0.5, not {self.cutmix:g}")
        if self.unlabeled and not self.distills:
            raise SettingError("unlabeled requires a teacher or soft_labels")

    @property
    def distills(self) -> bool:
        """Whether the run learns from a teacher."""
        return self.teacher is not None or self.soft_labels is not None

    def to_toml(self) -> str:
        """Write the settings as TOML, without those that are None, a value that TOML lacks."""
        import tomli_w

        values = {name: shown(value) if isinstance(value, str) else value for name, value in asdict(self).items()}
        return tomli_w.dumps({name: value for name, value in values.items() if value is not None})

    def save(self, path: Path) -> None:
        """Write a TOML file, atomically."""
        write_text(path, self.to_toml())


def read_config(path: Path) -> dict[str, Any]:
    """Read the values of a TOML file of settings.

    Raises SettingError for a missing or malformed file, an unknown setting, and a value of the wrong type.
    """
    import tomllib

    try:
        values = tomllib.loads(read_text(path, what="settings"))
    except DataError as error:
        raise SettingError(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise SettingError(f"{path} is not TOML: {error}") from error
    return check_values(values, str(path))


def load_config(path: Path, **overrides: Any) -> TrainConfig:
    """Load settings from a TOML file, with ``overrides``; SettingError as for :func:`read_config`."""
    return TrainConfig(**read_config(path) | overrides)


@cache
def _kinds() -> dict[str, Any]:
    return get_type_hints(TrainConfig)


def check_values(values: dict[str, Any], source: str) -> dict[str, Any]:
    """Return the values, paths as strings and numbers as Python's.

    Raises SettingError, naming ``source``, for an unknown setting or a value of the wrong type.
    """
    checked = {}
    for key, value in values.items():
        if key not in _kinds():
            raise SettingError(f"{source}: unknown setting '{key}'{nearest(key, list(_kinds()))}")
        checked[key] = _plain(value)
        check(f"{source}: {key}", checked[key], _kinds()[key])
    return checked


def _plain(value: object) -> object:
    if isinstance(value, os.PathLike) or type(value).__name__ == "device":  # torch's, which is not imported here
        return str(value)
    if isinstance(value, numbers.Real) and not isinstance(value, bool):  # numpy's too
        return int(value) if isinstance(value, numbers.Integral) else float(value)
    return value


def find_recipe(name: str) -> Path:
    """Return the TOML file of a ``--config`` value: a path, or the name of a recipe of this package.

    >>> find_recipe("default").name
    'default.toml'
    """
    if Path(name).suffix == ".toml" or Path(name).is_file():
        return Path(name)
    recipes = {path.stem: path for path in Path(str(files("vocseg"))).joinpath("recipes").glob("*.toml")}
    if name in recipes:
        return recipes[name]
    known = ", ".join(sorted(recipes))
    raise SettingError(f"no recipe '{name}'{nearest(name, list(recipes))} (there are {known}; a file ends in .toml)")
