"""The settings of a training run: documented defaults, TOML files, checks."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from vocseg import voc
from vocseg.errors import SettingError, nearest
from vocseg.utils.files import write_text

T = TypeVar("T")

GROUPS = ("data", "model", "schedule", "augmentation", "loss", "distillation", "checkpoints", "machine")
"""The groups of settings in `vocseg train --help`, in order; each field names its group in its metadata."""

PYTHON = "python"
"""Value, or prefix of the value, of a setting whose object was passed to :func:`vocseg.train` instead of a name."""


def _setting(group: str, default: T) -> T:
    value: T = field(default=default, metadata={"group": group})
    return value


@dataclass(frozen=True)
class TrainConfig:
    """TrainConfig of a training run; the defaults are the recipe ``default``.

    Raises SettingError for a value out of range and for settings that do not go together.

    >>> TrainConfig(epochs=50).lr
    0.002
    """

    data: str = _setting("data", "data")
    """Folder that contains VOCdevkit, VOCdevkit itself, or a folder in VOC layout."""
    split: str = _setting("data", "train")
    """Split to train on."""
    val_split: str = _setting("data", "val")
    """Split to validate on after each epoch."""
    mask_dir: str = _setting("data", voc.MASKS)
    """Folder of the training masks, e.g. SegmentationClassAug. Validation uses SegmentationClass if it exists."""
    eval_short_side: int | None = _setting("data", None)
    """Resize images to this shorter side for validation and later prediction; by default they keep their size."""

    model: str = _setting("model", "deeplabv3_resnet101")
    """Model name or model file; `vocseg models` lists the names."""
    weights: str | None = _setting("model", None)
    """Initial weights: coco, backbone, none (see `vocseg models`) or a file; by default the best available."""
    freeze: Literal["none", "batch-norm", "backbone"] = _setting("model", "none")
    """Keep part of the network fixed: batch norm statistics and weights, or the whole backbone (encoder)."""

    epochs: float = _setting("schedule", 30)
    """Passes over the training images, unlabeled ones included."""
    iterations: int | None = _setting("schedule", None)
    """Optimizer steps, instead of epochs."""
    batch_size: int = _setting("schedule", 8)
    """Images per optimizer step, over all processes."""
    accumulate: int = _setting("schedule", 1)
    """Gradient accumulation steps. Batch norm statistics are computed per micro-batch."""
    optimizer: Literal["sgd", "adamw"] = _setting("schedule", "sgd")
    """SGD with momentum, or AdamW."""
    lr: float = _setting("schedule", 0.002)
    """Base learning rate."""
    head_lr_factor: float = _setting("schedule", 10.0)
    """Learning rate multiplier of the classification layers."""
    backbone_lr_factor: float = _setting("schedule", 1.0)
    """Learning rate multiplier of the pretrained backbone (encoder)."""
    momentum: float = _setting("schedule", 0.9)
    """Momentum of SGD; beta1 of AdamW."""
    weight_decay: float = _setting("schedule", 1e-4)
    """Weight decay. AdamW applies none to biases and normalization layers."""
    schedule: Literal["poly", "cosine", "constant"] = _setting("schedule", "poly")
    """Decay of the learning rate over the run: poly is (1 - t)^0.9, cosine (1 + cos(pi t)) / 2."""
    warmup: int = _setting("schedule", 0)
    """Iterations of linear learning rate warmup."""
    clip_norm: float = _setting("schedule", 0.0)
    """Clip the gradient to this norm; 0 disables it."""
    ema: float = _setting("schedule", 0.0)
    """Decay of an exponential moving average of the weights, which is validated and saved as well; 0 disables it."""
    patience: int = _setting("schedule", 0)
    """Stop after this many epochs without a better validation mIoU; 0 disables it."""

    augment: Literal["scale-crop", "center-square", "python"] = _setting("augmentation", "scale-crop")
    """scale-crop: random scale 0.5 to 2, random crop, random flip. center-square: largest centered square, resized.
    python: the transform passed to vocseg.train."""
    crop: int = _setting("augmentation", 480)
    """Side of the training images in pixels."""
    color_jitter: float = _setting("augmentation", 0.0)
    """Color jitter strength s: brightness, contrast and saturation in [1 - s, 1 + s], hue shift up to s / 4."""
    copy_paste: float = _setting("augmentation", 0.0)
    """Probability of pasting the objects of another training image, with rare classes as often as common ones."""
    repeat_threshold: float = _setting("augmentation", 0.0)
    """Oversample images with rare classes: classes in less than this fraction of images (LVIS); 0 disables it."""
    cutmix: float = _setting("augmentation", 0.0)
    """Probability of replacing a rectangle by that of another image of the batch, with its mask."""

    loss: str = _setting("loss", "cross-entropy")
    """Weighted sum of cross-entropy, ohem, focal, dice and lovasz, e.g. ohem+0.5*dice."""
    class_weights: Literal["none", "auto"] = _setting("loss", "none")
    """Class weights in the cross entropy. auto: median frequency balancing over the training masks."""
    aux_weight: float = _setting("loss", 0.4)
    """Weight of the auxiliary head's loss; 0 removes the head."""

    teacher: str | None = _setting("distillation", None)
    """Teacher model for knowledge distillation: a trained model's name or file. It runs on each batch, unless
    --soft-labels is given."""
    soft_labels: str | None = _setting("distillation", None)
    """Folder of precomputed teacher probabilities (NAME.npy) of whole images, multi-scale and flipped; missing ones are
    computed by --teacher."""
    unlabeled: str | None = _setting("distillation", None)
    """Folder of images without masks, learned from the teacher only."""
    distill_weight: float = _setting("distillation", 1.0)
    """Weight of the KL divergence from the teacher's probabilities."""
    hint_weight: float = _setting("distillation", 0.0)
    """Weight of the distance from the teacher's features."""
    mixup: float = _setting("distillation", 0.0)
    """Probability of blending an image with another of the batch, learned from the teacher only."""

    out: str | None = _setting("checkpoints", None)
    """Run folder; by default runs/MODEL, numbered if it exists."""
    checkpoint_minutes: float = _setting("checkpoints", 10.0)
    """Minutes between checkpoints within an epoch; there is also one after each epoch."""
    tensorboard: bool = _setting("checkpoints", False)
    """Also write scalars and validation overlays for TensorBoard."""

    seed: int = _setting("machine", 0)
    """Random seed."""
    device: Literal["auto", "cpu", "cuda", "mps"] = _setting("machine", "auto")
    """Device to train on."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = _setting("machine", "auto")
    """Autocast precision; auto: bfloat16 if the device supports it in hardware. float16 requires a GPU."""
    compile: bool = _setting("machine", False)
    """Compile the network with torch.compile."""
    workers: int | None = _setting("machine", None)
    """Data loader processes; by default half the cores, at most 8."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise SettingError(f"{item.name} must be a finite number, not {value}")
        for name, low in _AT_LEAST.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise SettingError(f"{name} must be at least {low:g}, not {value:g}")
        if self.epochs <= 0:
            raise SettingError(f"epochs must be above 0, not {self.epochs:g}")
        if self.ema >= 1:
            raise SettingError(f"ema must be below 1, not {self.ema:g}")
        if self.copy_paste > 1:
            raise SettingError(f"copy_paste is a probability, at most 1, not {self.copy_paste:g}")
        if self.cutmix + self.mixup > 1:
            raise SettingError(f"cutmix and mixup are probabilities, at most 1 together, not {self.cutmix + self.mixup:g}")
        if self.batch_size % self.accumulate:
            raise SettingError(f"batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}")
        for name in ("unlabeled", "mixup"):
            if getattr(self, name) and self.teacher is None and self.soft_labels is None:
                raise SettingError(f"{name} requires a teacher or soft_labels")
        if self.hint_weight and self.teacher is None:
            raise SettingError("hint_weight requires a teacher")

    def to_toml(self) -> str:
        """Write the settings as TOML, without those that are None, a value that TOML lacks."""
        import tomli_w

        return tomli_w.dumps({name: value for name, value in asdict(self).items() if value is not None})

    def save(self, path: Path) -> None:
        """Write a TOML file, atomically."""
        write_text(path, self.to_toml())


_AT_LEAST = {
    "iterations": 1, "batch_size": 1, "accumulate": 1, "crop": 1, "eval_short_side": 1, "lr": 0, "head_lr_factor": 0,
    "backbone_lr_factor": 0, "momentum": 0, "weight_decay": 0, "warmup": 0, "clip_norm": 0, "ema": 0, "patience": 0,
    "color_jitter": 0, "copy_paste": 0, "repeat_threshold": 0, "cutmix": 0, "mixup": 0, "aux_weight": 0,
    "distill_weight": 0, "hint_weight": 0, "seed": 0, "workers": 0, "checkpoint_minutes": 0,
}  # fmt: skip


_DELETED = {
    "stages": "run one file per stage, with weights = the last run's last/average.safetensors",
    "final_crop": "continue from the run's weights with another crop",
    "final_share": "continue from the run's weights with another crop",
    "tuned_batch_size": "set lr for your batch_size",
    "scale_lr": "set lr for your batch_size",
    "power": "poly always uses 0.9",
    "checkpoint_iterations": "use checkpoint_minutes",
    "keep_checkpoints": "two are kept",
    "val_mask_dir": "validation uses SegmentationClass if it exists, else mask_dir",
    "min_scale": "scale-crop always scales by 0.5 to 2",
    "max_scale": "scale-crop always scales by 0.5 to 2",
    "label_smoothing": "pass loss=callable to vocseg.train",
    "mask_weight": "scale distill_weight and hint_weight instead",
    "teacher_weights": "give a model file as teacher",
    "teach_on": "the teacher runs on each batch, unless soft_labels is given",
    "find_lr": "use --dry-run, and try a few values of lr",
}
"""TrainConfig of earlier versions, and what to do instead."""


def read_config(path: Path) -> dict[str, Any]:
    """Read the values of a TOML file of settings.

    Raises SettingError for a missing or malformed file, an unknown or removed setting, and a value of the wrong type.
    """
    import tomllib

    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"cannot read settings {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is not TOML: {error}") from error
    check_values(values, str(path))
    return values


def load_config(path: Path, **overrides: Any) -> TrainConfig:
    """Load settings from a TOML file, with ``overrides``; SettingError as for :func:`read_config`."""
    return TrainConfig(**read_config(path) | overrides)


def check_values(values: dict[str, Any], source: str) -> None:
    """Raise SettingError, naming ``source``, for an unknown or removed setting or a value of the wrong type."""
    kinds = get_type_hints(TrainConfig)
    for key, value in values.items():
        if key in _DELETED:
            raise SettingError(f"{source}: the setting '{key}' was removed; {_DELETED[key]}")
        if key not in kinds:
            raise SettingError(f"{source}: unknown setting '{key}'{nearest(key, list(kinds))}")
        if not _fits(value, kinds[key]):
            raise SettingError(f"{source}: {key} must be {_in_words(kinds[key])}, not {value!r}")


def _fits(value: object, kind: Any) -> bool:
    if isinstance(kind, UnionType):
        return any(_fits(value, part) for part in get_args(kind))
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _in_words(kind: Any) -> str:
    parts = [part for part in get_args(kind) or (kind,) if part is not NoneType]
    names = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}
    return " or ".join(names.get(part) or repr(part) for part in parts)


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
