"""Create models by name or from files, list their names, register new ones."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from vocseg import voc
from vocseg.errors import ModelError, nearest
from vocseg.models.adapt import adapt
from vocseg.models.base import Family, SegmentationModel
from vocseg.models.checkpoint import read_info, read_model_file, read_weights_file
from vocseg.models.info import IMAGENET_MEAN, IMAGENET_STD, ModelInfo, Triple, names_of
from vocseg.models.weights import load_weights, merge_weights
from vocseg.models.zoo.baselines import Baselines
from vocseg.models.zoo.deeplab_mobilenet import DeepLabMobileNetFamily
from vocseg.models.zoo.smp import SmpFamily
from vocseg.models.zoo.torchvision import TorchvisionFamily
from vocseg.models.zoo.vocseg_s import VocsegFamily
from vocseg.utils.arguments import checked
from vocseg.utils.files import is_file_name
from vocseg.utils.stand_ins import fetched

Builder = Callable[[int], nn.Module]
"""Takes the number of classes, returns a network as :class:`SegmentationModel` takes it, or a SegmentationModel."""

B = TypeVar("B", bound=Callable[..., nn.Module])


@dataclass(frozen=True)
class _Entry:
    builder: Builder
    mean: Triple
    std: Triple
    class_layers: tuple[str, ...]


class RegisteredFamily(Family):
    """Networks registered with :func:`register_model`."""

    title = "registered"

    def __init__(self) -> None:
        self.entries: dict[str, _Entry] = {}

    def names(self) -> list[str]:
        return list(self.entries)

    def build(self, name: str, classes: tuple[str, ...], weights: str) -> SegmentationModel:
        entry = self.entries[name]
        try:
            network = entry.builder(len(classes))
        except Exception as error:
            raise ModelError(f"model {name} cannot be built for {len(classes)} classes: {type(error).__name__}: {error}") from error
        if not isinstance(network, nn.Module):
            raise ModelError(f"model {name} was registered with a function that returns {type(network).__name__}, not a network")
        if isinstance(network, SegmentationModel):
            network.set_info(replace(network.info, architecture=name, classes=classes, palette=()))
            return network
        parts = dict(network.named_modules())
        for layer in entry.class_layers:
            if layer not in parts:
                raise ModelError(f"model {name} was registered with the class layer '{layer}', which its network does not have")
        return adapt(network, ModelInfo(name, classes, mean=entry.mean, std=entry.std), entry.class_layers)


REGISTERED = RegisteredFamily()
SMP = SmpFamily()
FAMILIES: tuple[Family, ...] = (VocsegFamily(), TorchvisionFamily(), DeepLabMobileNetFamily(), Baselines(), REGISTERED)
"""Families whose names are listed; SMP's are recognized by their form, ``arch:encoder``."""


def register_model(
    builder: B | None = None,
    *,
    name: str | None = None,
    mean: Triple = IMAGENET_MEAN,
    std: Triple = IMAGENET_STD,
    class_layers: Sequence[str] = (),
) -> B | Callable[[B], B]:
    """Register a network under a name that every verb and function then takes.

    ``builder(num_classes)`` returns a module that maps normalized images (float, N x 3 x H x W) to logits (N x
    num_classes x h x w of any resolution), or a :class:`SegmentationModel`. ``name`` is the function's by default.
    ``mean`` and ``std`` of RGB in 0..1 normalize the images. ``class_layers`` are the names of the submodules with one
    output per class: they have a learning rate of their own and are replaced if the classes change.

    On the command line, ``vocseg --import FILE.py VERB ...`` imports the file that registers networks. Raises
    ModelError if the name is taken.

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
        ModelInfo(own, ("class",), mean=mean, std=std)  # raises for what no network can have
        REGISTERED.entries[own] = _Entry(function, mean, std, tuple(class_layers))
        return function

    return register if builder is None else register(builder)


@checked
def list_models(pattern: str | None = None) -> list[str]:
    """List the names that :func:`create_model` takes.

    ``pattern`` may contain the wildcards ``*``, ``?`` and ``[...]``. The names of segmentation_models_pytorch are
    listed only for a pattern with a colon, such as ``unet:*``: there is one for each architecture and encoder.

    >>> list_models("deeplabv3_mobilenet*")
    ['deeplabv3_mobilenet_v3_large', 'deeplabv3_mobilenet_v2']
    """
    families: Sequence[Family] = (SMP,) if pattern is not None and ":" in pattern else FAMILIES
    return [name for family in families for name in family.names() if pattern is None or fnmatch(name, pattern)]


@checked
def create_model(model: str | Path, classes: Sequence[str] | None = None, weights: str | Path | None = None) -> SegmentationModel:
    """Create a model in training mode.

    ``model`` is a name (``deeplabv3_resnet101``, ``unet:resnet34``, ``two_layer_net``, a registered one) or a model
    file, on the disk or at a URL (``s3://bucket/best.safetensors``). ``classes`` are the names
    of the classes to predict; None: those of the model file or weights file, or VOC's 21. ``weights`` is one of the kinds that
    the model offers (``coco``, ``voc``, ``backbone``, ``none``) or a weights file; None: the model file's own, or the best
    kind. If the weights are for other classes, the class layers keep the rows of classes with the same name; their other rows
    are random.

    Raises ModelError for an unknown name, and for weights that do not fit or cannot be loaded.

    >>> model = create_model("two_layer_net", classes=("background", "cat"))
    >>> sum(parameter.numel() for parameter in model.parameters())
    24602
    >>> import torch
    >>> model = create_model("unet:resnet18", classes=("background", "cat"), weights="none").eval()
    >>> model(torch.zeros(1, 3, 48, 64, dtype=torch.uint8))["out"].shape
    torch.Size([1, 2, 48, 64])
    """
    model, weights = str(model), None if weights is None else str(weights)
    names = None if classes is None else names_of(classes)
    if is_file_name(model):
        return _from_model_file(str(fetched(model)), names, weights)
    family = find_family(model)
    kind = family.weights[0] if weights is None else weights
    if kind in family.weights:
        return family.build(model, voc.CLASSES if names is None else names, kind)
    if not is_file_name(kind):
        raise ModelError(f"unknown weights '{kind}' for {model}: it takes {', '.join(family.weights)} or a file")
    state, file_classes = read_weights_file(file := fetched(kind))
    info = read_info(file) if file_classes else None
    predicted = (file_classes or voc.CLASSES) if names is None else names
    return _with_weights(model, predicted, info, state, file_classes, kind, other_classes=names is not None)


def comes_untrained(name: str, weights: str | None) -> bool:
    """Return whether a model name and its weights give a network that is not trained for segmentation."""
    return weights is None and not is_file_name(name) and find_family(name).weights[0] in ("backbone", "none")


def require_trained(name: str, weights: str | None) -> None:
    """Raise ModelError if a model name and its weights give a network that is not trained for segmentation."""
    if comes_untrained(name, weights):
        raise ModelError(
            f"{name} has no pretrained segmentation weights; train it, or give weights: a file, or 'none' for random output"
        )


def find_family(name: str) -> Family:
    """Return the family that builds ``name``; raise ModelError with the nearest known name if there is none."""
    if ":" in name:
        return SMP
    for family in FAMILIES:
        if name in family.names():
            return family
    if Path(name).is_dir():
        read_info(Path(name))  # raises, naming the model file in the folder
    others = "`vocseg models` lists them; arch:encoder for segmentation_models_pytorch; --import FILE.py for your own"
    raise ModelError(f"unknown model '{name}'{nearest(name, list_models())} ({others})")


def _from_model_file(model: str, classes: tuple[str, ...] | None, weights: str | None) -> SegmentationModel:
    info, state = read_model_file(Path(model))
    if ":" not in info.architecture and not any(info.architecture in family.names() for family in FAMILIES):
        raise ModelError(
            f"{model} is a model '{info.architecture}', which is not registered; first import the code that registers it with "
            f"vocseg.register_model(..., name='{info.architecture}'): vocseg --import FILE.py VERB ..., or in Python"
        )
    names = info.classes if classes is None else classes
    if weights is None:
        return _with_weights(info.architecture, names, info, state, info.classes, model)
    if not is_file_name(weights):
        raise ModelError(f"weights {weights} cannot be combined with the model file {model}, which has its own")
    state, file_classes = read_weights_file(fetched(weights))
    return _with_weights(info.architecture, names, info, state, file_classes, weights)


def _with_weights(
    architecture: str,
    classes: tuple[str, ...],
    like: ModelInfo | None,
    state: Mapping[str, Tensor],
    file_classes: tuple[str, ...] | None,
    source: str,
    *,
    other_classes: bool = True,
) -> SegmentationModel:
    """Build a network, with the normalization and input size of ``like``, and load a state dict into it."""
    family = find_family(architecture)
    if family is SMP:  # up to billions of weights: look whether they are there before their memory is taken
        sketch = None
        with torch.random.fork_rng(devices=[]), torch.device("meta"), contextlib.suppress(ModelError):
            sketch = family.build(architecture, classes, "none")  # some encoders cannot be built there
        if sketch is not None:
            merge_weights(sketch, state, file_classes, source, other_classes=other_classes)
    built = family.build(architecture, classes, "none")
    if like is not None:
        palette = like.palette if like.classes == classes else ()
        built.set_info(replace(like, architecture=architecture, classes=classes, palette=palette))
    load_weights(built, state, file_classes, source, other_classes=other_classes)
    return built
