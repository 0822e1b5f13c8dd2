"""The settings of a training run: documented defaults, TOML files, checks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from vocseg import voc
from vocseg.errors import SettingError, nearest
from vocseg.utils.files import write_text


@dataclass(frozen=True)
class Settings:
    """Settings of a training run; the defaults are the recipe ``default``."""

    data: str = "data"
    """Folder that holds VOCdevkit, VOCdevkit itself, or a folder in VOC layout."""
    split: str = "train"
    """Split list to train on."""
    val_split: str = "val"
    """Split list to validate on after each epoch."""
    mask_dir: str = voc.MASKS
    """Folder of the training masks, e.g. SegmentationClassAug."""
    val_mask_dir: str | None = None
    """Folder of the validation masks; by default SegmentationClass where there is one, else that of the training masks."""
    model: str = "deeplabv3_resnet101"
    """Model name or model file; `vocseg models` lists the names."""
    weights: str | None = None
    """coco, voc, backbone, none (`vocseg models` lists them) or a weights file; by default the best that the model offers."""
    out: str | None = None
    """Run folder; by default runs/MODEL, numbered where there is one already."""
    epochs: float = 30
    """Passes over the training images, those without masks included."""
    iterations: int | None = None
    """Optimizer steps, instead of epochs."""
    batch_size: int = 8
    """Images a step, over all processes and parts."""
    accumulate: int = 1
    """Parts that a step's images are cut into, one after another, where memory is short; batch normalization sees one part."""
    tuned_batch_size: int | None = None
    """Batch size that the learning rate was tuned for; with another --batch-size the rate is scaled."""
    scale_lr: bool = True
    """Scale the rate with --batch-size / --tuned-batch-size: linearly with sgd, by its square root with adamw."""
    augment: Literal["scale-crop", "center-square"] = "scale-crop"
    """scale-crop: random scale 0.5 to 2, random crop, flip; center-square: largest centered square, resized."""
    crop: int = 480
    """Side of the training images, pixels."""
    final_crop: int | None = None
    """Side of the training images towards the end: nearer to whole images, as validation has them."""
    final_share: float = 0.25
    """Share of the iterations, the last ones, that train at --final-crop."""
    min_scale: float = 0.5
    """Least factor by which scale-crop scales an image."""
    max_scale: float = 2.0
    """Largest factor by which scale-crop scales an image."""
    color_jitter: float = 0.0
    """Strength of color changes: brightness, contrast, saturation by factors within 1 +- it, hue by up to a quarter of it."""
    copy_paste: float = 0.0
    """Probability of pasting the objects of another training image, of rare classes as often as of common ones."""
    repeat_threshold: float = 0.0
    """Show images of classes that fewer than this share of the images show more often, as LVIS does; 0: all alike."""
    cutmix: float = 0.0
    """Probability that an image gets a rectangle of another one of its batch, with its mask."""
    mixup: float = 0.0
    """Probability that an image is blended with another one of its batch, to be learned from a teacher alone."""
    teacher: str | None = None
    """Model whose class probabilities are learned from as well; needs --soft-labels DIR, or --teach-on batches."""
    teacher_weights: str | None = None
    """Weights file of a teacher that is given by its name."""
    teach_on: Literal["images", "batches"] = "images"
    """images: the teacher's probabilities of whole images, over scales and mirrored, are put into --soft-labels where missing
    there, and learned from; batches: the teacher is asked about each batch as it is trained on."""
    soft_labels: str | None = None
    """Folder of a teacher's class probabilities (NAME.npy). With --teach-on batches they are those of images without masks, and
    only tell --repeat-threshold what these show."""
    unlabeled: str | None = None
    """Folder of images without masks that are learned from a teacher alone; none of the validation split."""
    distill_weight: float = 1.0
    """Weight of the divergence from the teacher's probabilities beside the loss on masks."""
    hint_weight: float = 0.0
    """Weight of the distance from the teacher's features of each batch as it is trained on."""
    mask_weight: float = 1.0
    """Weight of the loss on masks."""
    eval_short_side: int | None = None
    """Validate, and later predict, at this shorter side; by default at the images' own size."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """sgd: with momentum; adamw: with decoupled weight decay."""
    lr: float = 0.002
    """Base learning rate."""
    head_lr_factor: float = 10.0
    """How many times the base rate the layers with one output a class learn with."""
    backbone_lr_factor: float = 1.0
    """How many times the base rate the pretrained backbone (or encoder) learns with."""
    momentum: float = 0.9
    """Momentum of SGD; first moment's decay of AdamW."""
    weight_decay: float = 1e-4
    """Weight decay; none on biases and normalization with AdamW."""
    schedule: Literal["poly", "cosine", "constant"] = "poly"
    """How the rate falls to 0 over the run, by iteration."""
    power: float = 0.9
    """Exponent of poly."""
    warmup: int = 0
    """Iterations over which the rate first rises linearly from 0."""
    ema: float = 0.0
    """Decay of a moving average of the weights, scored and saved beside them; 0: none."""
    clip_norm: float = 0.0
    """Largest norm of a step's gradient; a larger one is scaled down; 0: no limit."""
    freeze: Literal["none", "batch-norm", "backbone"] = "none"
    """batch-norm: its statistics and weights stay as loaded; backbone: the backbone, or encoder, does."""
    loss: str = "cross-entropy"
    """Sum of cross-entropy, ohem, focal, dice and lovasz, e.g. ohem+0.5*dice."""
    class_weights: str = "none"
    """none; auto: median frequency balancing over the training masks; or a number a class, comma-separated."""
    label_smoothing: float = 0.0
    """Share of each label that is spread over all classes in the cross entropy."""
    aux_weight: float = 0.4
    """Weight of the auxiliary head's loss, where the model has one."""
    patience: int = 0
    """Epochs without a better validation mIoU after which the run ends; 0: never."""
    seed: int = 0
    """Seed of everything random."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 where the machine is measurably faster with it."""
    workers: int | None = None
    """Loader processes; by default half the cores, at most eight."""
    checkpoint_minutes: float = 10.0
    """Minutes between checkpoints within an epoch; there is one after each epoch as well."""
    checkpoint_iterations: int | None = None
    """Iterations between checkpoints, instead of minutes."""
    keep_checkpoints: int = 2
    """Checkpoints that are kept."""
    tensorboard: bool = False
    """Write scalars and validation overlays for TensorBoard to the run folder as well."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise SettingError(f"{item.name} must be a finite number, not {value}")
        for name, low in _AT_LEAST.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise SettingError(f"{name} must be at least {low:g}, not {value:g}")
        if self.max_scale < self.min_scale:
            raise SettingError(f"max_scale {self.max_scale:g} is below min_scale {self.min_scale:g}")
        if self.ema >= 1:
            raise SettingError(f"ema must be below 1, not {self.ema:g}")
        if self.copy_paste > 1:
            raise SettingError(f"copy_paste is a probability, at most 1, not {self.copy_paste:g}")
        if not 0 < self.final_share < 1:
            raise SettingError(f"final_share must be between 0 and 1, not {self.final_share:g}")
        if self.cutmix + self.mixup > 1:
            raise SettingError(f"cutmix and mixup are probabilities, at most 1 together, not {self.cutmix + self.mixup:g}")
        asked = self.teach_on == "batches"
        taught = self.teacher is not None if asked else self.soft_labels is not None
        if asked and not taught:
            raise SettingError("teach_on batches needs a teacher")
        if self.unlabeled is not None and not taught:
            raise SettingError("unlabeled images need soft_labels to learn from, or a teacher with teach_on batches")
        if self.mixup and not taught:
            raise SettingError("mixup needs soft_labels to learn from, or a teacher with teach_on batches")
        if self.teacher is not None and not taught:
            raise SettingError(f"teacher {self.teacher} needs soft_labels, a folder to keep its probabilities in")
        if self.teacher_weights is not None and self.teacher is None:
            raise SettingError("teacher_weights needs a teacher, the name of the network that they are of")
        if self.hint_weight and self.teacher is None:
            raise SettingError("hint_weight needs a teacher")
        if self.batch_size % self.accumulate:
            raise SettingError(f"batch_size {self.batch_size} cannot be cut into {self.accumulate} equal parts (accumulate)")
        if self.epochs <= 0:
            raise SettingError(f"epochs must be above 0, not {self.epochs:g}")

    def to_toml(self) -> str:
        """The settings as TOML; those that are None are left out, as TOML has no such value."""
        import tomli_w

        return tomli_w.dumps({name: value for name, value in asdict(self).items() if value is not None})

    def save(self, path: Path) -> None:
        """Write the settings as TOML, atomically."""
        write_text(path, self.to_toml())


_AT_LEAST = {
    "iterations": 1, "batch_size": 1, "crop": 1, "final_crop": 1, "eval_short_side": 1, "lr": 0, "head_lr_factor": 0, "momentum": 0,
    "backbone_lr_factor": 0,
    "weight_decay": 0, "power": 0, "aux_weight": 0, "seed": 0, "workers": 0, "checkpoint_minutes": 0,
    "min_scale": 0.01, "color_jitter": 0, "copy_paste": 0,
    "repeat_threshold": 0, "distill_weight": 0, "hint_weight": 0, "mask_weight": 0,
    "cutmix": 0, "mixup": 0, "warmup": 0, "ema": 0, "clip_norm": 0,
    "accumulate": 1, "tuned_batch_size": 1, "label_smoothing": 0, "patience": 0, "checkpoint_iterations": 1, "keep_checkpoints": 1,
}  # fmt: skip


Changes = dict[str, Any]
"""What a stage of a recipe sets otherwise than the recipe as a whole."""

_OF_THE_WHOLE = ("model", "weights", "out")


def read_settings(path: Path) -> tuple[dict[str, Any], list[Changes]]:
    """The values of a TOML settings file, and of its ``[[stages]]``, where it has some.

    Raises SettingError for a missing or malformed file, an unknown key, or a value of another type.
    """
    import tomllib

    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"cannot read settings {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is not TOML: {error}") from error
    given = "stages" in values
    stages = values.pop("stages", [])
    if given and not (isinstance(stages, list) and stages and all(isinstance(changes, dict) for changes in stages)):
        raise SettingError(f"{path}: stages must be tables, [[stages]]")
    _check_values(values, str(path))
    for number, changes in enumerate(stages, 1):
        where = f"{path}, stage {number},"
        _check_values(changes, where)
        if {"epochs", "iterations"} <= changes.keys():
            raise SettingError(f"{where} sets both epochs and iterations, of which one is enough")
        for key in _OF_THE_WHOLE:
            if key in changes:
                raise SettingError(f"{where} sets {key}, which is the same for all: each stage goes on from the one before")
    return values, stages


def load_settings(path: Path, **overrides: Any) -> Settings:
    """Settings from a TOML file, ``overrides`` winning; SettingError as for :func:`read_settings`, or where it has stages."""
    values, stages = read_settings(path)
    if stages:
        raise SettingError(f"{path} has {len(stages)} stages, a run each; there is no one set of settings in it")
    return Settings(**values | overrides)


def settings_of_stages(settings: Settings, stages: Sequence[Changes]) -> list[Settings]:
    """The settings of each stage's run, but for where it begins and is written; SettingError names the stage."""
    found = []
    for number, changes in enumerate(stages, 1):
        if "epochs" in changes:
            changes = {"iterations": None} | changes  # those of all would win
        try:
            found.append(replace(settings, **changes))
        except SettingError as error:
            raise SettingError(f"stage {number}: {error}") from error
    return found


def _check_values(values: dict[str, Any], where: str) -> None:
    kinds = get_type_hints(Settings)
    for key, value in values.items():
        if key not in kinds:
            raise SettingError(f"{where} has unknown setting '{key}'{nearest(key, list(kinds))}")
        if not _fits(value, kinds[key]):
            raise SettingError(f"{where} has {key} = {value!r}: it must be {_in_words(kinds[key])}")


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
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
    return " or ".join(names.get(part) or repr(part) for part in parts)


def find_recipe(name: str) -> Path:
    """The TOML file of a ``--config`` value: a path, or the name of a recipe that comes with vocseg."""
    if Path(name).suffix == ".toml" or Path(name).is_file():
        return Path(name)
    package = Path(__file__).parents[1]
    # Recipes lie at the root of a source tree and inside the installed package.
    folders = [package / "recipes", package.parents[1] / "recipes"]
    recipes = {path.stem: path for folder in folders for path in folder.glob("*.toml")}
    if name in recipes:
        return recipes[name]
    raise SettingError(
        f"no recipe '{name}'{nearest(name, list(recipes))} (there are {', '.join(sorted(recipes))}; a file ends in .toml)"
    )
