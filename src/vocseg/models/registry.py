"""From a name or a file to a model: :func:`create_model`, :func:`list_models`, :func:`register_model`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TypeVar

from torch import nn

from vocseg import voc
from vocseg.errors import ModelError, nearest
from vocseg.models.base import IMAGENET_MEAN, IMAGENET_STD, ModelInfo, SegmentationModel, Triple
from vocseg.models.checkpoint import read_info, read_model_file, read_weights_file
from vocseg.models.family import Family
from vocseg.models.weights import load_weights
from vocseg.models.zoo.baselines import Baselines
from vocseg.models.zoo.deeplab_mobilenet import DeepLabMobileNetFamily
from vocseg.models.zoo.smp import SmpFamily
from vocseg.models.zoo.torchvision import TorchvisionFamily
from vocseg.models.zoo.vocseg_s import VocsegFamily

Builder = Callable[[int], nn.Module]
"""Makes a network for a number of classes: a module as :class:`SegmentationModel` takes it, or a SegmentationModel."""

B = TypeVar("B", bound=Callable[..., nn.Module])


@dataclass(frozen=True)
class _Entry:
    builder: Builder
    mean: Triple
    std: Triple
    class_layers: tuple[str, ...]


class RegisteredFamily:
    """Networks that users registered with :func:`register_model`."""

    title = "registered"
    weights: tuple[str, ...] = ("none",)

    def __init__(self) -> None:
        self.entries: dict[str, _Entry] = {}

    def names(self) -> list[str]:
        return list(self.entries)

    def build(self, name: str, classes: tuple[str, ...], weights: str) -> SegmentationModel:
        entry = self.entries[name]
        network = entry.builder(len(classes))
        if isinstance(network, SegmentationModel):
            network.info = replace(network.info, architecture=name, classes=classes, palette=())
            return network
        return SegmentationModel(network, ModelInfo(name, classes, mean=entry.mean, std=entry.std), entry.class_layers)

    def published(self, name: str) -> tuple[float, str] | None:
        return None


REGISTERED = RegisteredFamily()
SMP = SmpFamily()
FAMILIES: tuple[Family, ...] = (VocsegFamily(), TorchvisionFamily(), DeepLabMobileNetFamily(), Baselines(), REGISTERED)
"""Families whose names are listed; those of segmentation_models_pytorch are written ``arch:encoder``."""


def register_model(
    builder: B | None = None,
    *,
    name: str | None = None,
    mean: Triple = IMAGENET_MEAN,
    std: Triple = IMAGENET_STD,
    class_layers: Sequence[str] = (),
) -> B | Callable[[B], B]:
    """Register a network under a name, so that every verb and function takes it.

    ``builder(num_classes)`` returns a module that maps normalized images (float, N x 3 x H x W) to logits
    (N x num_classes x h x w of any resolution), or a :class:`SegmentationModel`. ``name`` is the function's by default;
    ``mean`` and ``std`` of RGB in 0..1 normalize its images; ``class_layers`` names the submodules with one output a class,
    which learn at ``head_lr_factor`` and are replaced when the classes change. Raises ModelError if the name is taken.

    >>> from torch import nn
    >>> @register_model
    ... def one_layer(num_classes):
    ...     return nn.Conv2d(3, num_classes, 1)
    >>> create_model("one_layer").class_names[:2]
    ('background', 'aeroplane')
    """

    def register(function: B) -> B:
        own: str = name or str(getattr(function, "__name__", ""))
        taken = [known for family in FAMILIES if family is not REGISTERED for known in family.names()]
        before = REGISTERED.entries.get(own)
        if not own or ":" in own or is_file_name(own) or own in taken:
            raise ModelError(f"cannot register a model as '{own}': the name is taken, empty, or looks like a file or arch:encoder")
        if before is not None and before.builder.__qualname__ != getattr(function, "__qualname__", ""):
            raise ModelError(f"cannot register a model as '{own}': another one has that name")
        REGISTERED.entries[own] = _Entry(function, mean, std, tuple(class_layers))
        return function

    return register if builder is None else register(builder)


def list_models(pattern: str | None = None) -> list[str]:
    """List the names that :func:`create_model` takes.

    ``pattern`` may hold the wildcards ``*``, ``?`` and ``[...]``. Names of segmentation_models_pytorch, over ten thousand,
    are listed only for a pattern with a colon, such as ``unet:*``.

    >>> list_models("deeplabv3_mobilenet*")
    ['deeplabv3_mobilenet_v3_large', 'deeplabv3_mobilenet_v2']
    """
    families: Sequence[Family] = (SMP,) if pattern is not None and ":" in pattern else FAMILIES
    return [name for family in families for name in family.names() if pattern is None or fnmatch(name, pattern)]


def create_model(model: str, classes: Sequence[str] | None = None, weights: str | None = None) -> SegmentationModel:
    """Make a model in training mode.

    ``model`` is a name (``deeplabv3_resnet101``, ``unet:resnet34``, ``two_layer_net``, a registered one) or a model file.
    ``classes`` are the names it shall predict; None: the file's own, or VOC's 21. ``weights`` is ``coco``, ``backbone``,
    ``none`` or a weights file; None: the file's own, or the best that the architecture offers.
    Raises ModelError for an unknown name or weights that do not fit or cannot be loaded.

    >>> model = create_model("two_layer_net", classes=("background", "cat"))
    >>> sum(parameter.numel() for parameter in model.parameters())
    24602
    """
    if is_file_name(model):
        return _from_model_file(model, classes, weights)
    family = find_family(model)
    kind = weights or family.weights[0]
    names = tuple(classes or voc.CLASSES)
    if kind in family.weights:
        return family.build(model, names, kind)
    if not is_file_name(kind):
        raise ModelError(f"unknown weights '{kind}' for {model}: it takes {', '.join(family.weights)} or a file")
    built = _from_scratch(model, names, read_info(Path(kind)) if _has_info(kind) else None)
    _load_file(built, kind)
    return built


def is_file_name(text: str) -> bool:
    """Tell whether a ``--model`` or ``--weights`` value means a file rather than a name."""
    return Path(text).suffix in {".safetensors", ".pth", ".pt", ".bin"} or Path(text).is_file() or "/" in text


def comes_untrained(name: str, weights: str | None) -> bool:
    """Tell whether a model name without weights gives a network that has not learned to segment."""
    return weights is None and not is_file_name(name) and find_family(name).weights[0] in ("backbone", "none")


def require_trained(name: str, weights: str | None) -> None:
    """Raise ModelError if a name without ``weights`` gives a network that has not learned to segment."""
    if comes_untrained(name, weights):
        raise ModelError(
            f"{name} has no pretrained segmentation weights; train it or pass --weights FILE (--weights none for random output)"
        )


def find_family(name: str) -> Family:
    """Return the family that builds ``name``; ModelError with the nearest known name if there is none."""
    if ":" in name:
        return SMP
    for family in FAMILIES:
        if name in family.names():
            return family
    if Path(name).is_dir():
        read_info(Path(name))  # says which model file is in it
    others = "`vocseg models` lists them; arch:encoder for segmentation_models_pytorch; --import FILE.py for your own"
    raise ModelError(f"unknown model '{name}'{nearest(name, list_models())} ({others})")


def _from_model_file(model: str, classes: Sequence[str] | None, weights: str | None) -> SegmentationModel:
    info, state = read_model_file(Path(model))
    built = _from_scratch(info.architecture, tuple(classes or info.classes), info)
    if weights is None:
        load_weights(built, state, info.classes, model)
        return built
    if not is_file_name(weights):
        raise ModelError(f"--weights {weights} does not go with the model file {model}, which has its own")
    _load_file(built, weights)
    return built


def _from_scratch(architecture: str, classes: tuple[str, ...], like: ModelInfo | None) -> SegmentationModel:
    built = find_family(architecture).build(architecture, classes, "none")
    if like is not None:
        info = replace(like, architecture=architecture, classes=classes, palette=like.palette if like.classes == classes else ())
        built.set_info(info)
    return built


def _has_info(weights: str) -> bool:
    try:
        read_info(Path(weights))
    except ModelError:
        return False
    return True


def _load_file(model: SegmentationModel, weights: str) -> None:
    state, classes = read_weights_file(Path(weights))
    load_weights(model, state, classes, weights)
