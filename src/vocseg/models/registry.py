"""From a name or a file to a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vocseg import voc
from vocseg.errors import ModelError, nearest
from vocseg.models.base import ModelInfo, SegmentationModel
from vocseg.models.checkpoint import read_info, read_model_file, read_weights_file
from vocseg.models.family import Zoo
from vocseg.models.weights import load_weights
from vocseg.models.zoo.baselines import Baselines
from vocseg.models.zoo.deeplab_mobilenet import DeepLabMobileNetZoo
from vocseg.models.zoo.smp import SmpZoo
from vocseg.models.zoo.torchvision import TorchvisionZoo
from vocseg.models.zoo.vocseg_s import VocsegZoo

ZOOS: tuple[Zoo, ...] = (VocsegZoo(), TorchvisionZoo(), DeepLabMobileNetZoo(), Baselines(), SmpZoo())


def create_model(model: str, classes: Sequence[str] | None = None, weights: str | None = None) -> SegmentationModel:
    """Make a model in training mode.

    ``model`` is a registry name (``deeplabv3_resnet101``, ``unet:resnet34``, ``two_layer_net``) or a model file.
    ``classes`` are the names it shall predict; None: the file's own, or VOC's 21. ``weights`` is ``coco``, ``backbone``,
    ``none`` or a weights file; None: the file's own, or the best that the architecture offers.
    Raises ModelError for an unknown name or weights that do not fit or cannot be had.
    """
    if is_file_name(model):
        info, state = read_model_file(Path(model))
        built = _from_scratch(info.architecture, tuple(classes or info.classes), info)
        if weights is None:
            load_weights(built, state, info.classes, model)
            return built
        if not is_file_name(weights):
            raise ModelError(f"--weights {weights} does not go with the model file {model}, which has its own")
        _load_file(built, weights)
        return built
    zoo = find_zoo(model)
    kind = weights or zoo.weights[0]
    names = tuple(classes or voc.CLASSES)
    if kind in zoo.weights:
        parts = zoo.build(model, len(names), kind)
        built = SegmentationModel(parts.network, ModelInfo(model, names, mean=parts.mean, std=parts.std), parts.class_layers)
        if parts.pretrained is not None:
            load_weights(built, parts.pretrained, voc.CLASSES, f"the {kind} weights")
        if parts.trained is not None:
            info, state = read_model_file(parts.trained)
            if names == info.classes:
                built.info = info
            load_weights(built, state, info.classes, f"the {kind} weights")
        return built
    if not is_file_name(kind):
        raise ModelError(f"unknown weights '{kind}' for {model}: it takes {', '.join(zoo.weights)} or a file")
    built = _from_scratch(model, names, read_info(Path(kind)) if _has_info(kind) else None)
    _load_file(built, kind)
    return built


def is_file_name(text: str) -> bool:
    """Whether a ``--model`` or ``--weights`` value means a file rather than a name."""
    return Path(text).suffix in {".safetensors", ".pth", ".pt", ".bin"} or Path(text).is_file() or "/" in text


def comes_untrained(name: str, weights: str | None) -> bool:
    """Whether a ``--model`` and ``--weights`` that was not given make a network that has not learned to segment."""
    return weights is None and not is_file_name(name) and find_zoo(name).weights[0] in ("backbone", "none")


def require_trained(name: str, weights: str | None) -> None:
    """Raise ModelError where a name without ``weights`` gives a network that has not learned to segment."""
    if comes_untrained(name, weights):
        raise ModelError(f"{name} comes untrained: train it first, or give --weights FILE (--weights none to see noise)")


def find_zoo(name: str) -> Zoo:
    """The zoo that builds ``name``; ModelError with the nearest known name where there is none."""
    if ":" in name:
        return ZOOS[-1]
    for zoo in ZOOS[:-1]:
        if name in zoo.names():
            return zoo
    if Path(name).is_dir():
        read_info(Path(name))  # says what model file is in it
    hint = nearest(name, [known for zoo in ZOOS[:-1] for known in zoo.names()])
    raise ModelError(
        f"unknown model '{name}'{hint or ''} (`vocseg models` lists them; arch:encoder for segmentation_models_pytorch)"
    )


def _from_scratch(architecture: str, classes: tuple[str, ...], like: ModelInfo | None) -> SegmentationModel:
    parts = find_zoo(architecture).build(architecture, len(classes), "none")
    if like is None:
        info = ModelInfo(architecture, classes, mean=parts.mean, std=parts.std)
    else:
        info = replace(like, architecture=architecture, classes=classes, palette=like.palette if like.classes == classes else ())
    return SegmentationModel(parts.network, info, parts.class_layers)


def _has_info(weights: str) -> bool:
    try:
        read_info(Path(weights))
    except ModelError:
        return False
    return True


def _load_file(model: SegmentationModel, weights: str) -> None:
    state, classes = read_weights_file(Path(weights))
    load_weights(model, state, classes, weights)
