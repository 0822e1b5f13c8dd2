"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, Token
from cyclopts.validators import Number

from vocseg.data.layout import VocFolder
from vocseg.errors import SettingError
from vocseg.inference.options import check_files, check_machine
from vocseg.utils.text import parse_seconds, parse_size
from vocseg.utils.urls import path_or_url
from vocseg.voc import MASKS

MEMORY = "memory:"
"""Scheme of URLs in the memory of a process."""


def _output(kind: object, tokens: Sequence[Token]) -> str | Path:
    value = tokens[0].value
    if value.startswith(MEMORY):
        raise SettingError(f"{value} would be gone when the command ends; name a disk or a store")
    return path_or_url(value)


Output = Annotated[str | Path, Parameter(converter=_output, n_tokens=1, accepts_keys=False, metavar="PATH")]
"""A file or folder, mostly one to write, or its URL."""
Flag = Annotated[bool, Parameter(negative=())]
"""A switch that is off by default and has no ``--no-`` form."""
Positive = Annotated[int, Parameter(validator=Number(gte=1))]
DataFolder = Annotated[
    str,
    Parameter(
        help="Folder that holds VOCdevkit, VOCdevkit itself, a folder in VOC layout, or one packed by `data pack`, also at a URL."
    ),
]


def _size(kind: object, tokens: Sequence[Token]) -> tuple[int, int]:
    return parse_size(tokens[0].value)


Size = Annotated[
    tuple[int, int],
    Parameter(
        converter=_size, n_tokens=1, accepts_keys=False, metavar="HxW", negative=(), show_default=lambda size: "{}x{}".format(*size)
    ),
]
"""Height and width in pixels, given as HxW."""


def _seconds(kind: object, tokens: Sequence[Token]) -> float:
    return parse_seconds(tokens[0].value)


Seconds = Annotated[float, Parameter(converter=_seconds, n_tokens=1, accepts_keys=False, metavar="TIME")]
"""A time in seconds, given as 90, 1.5s or 1:30."""
AnyMasks = Annotated[
    str | None, Parameter(help="Folder of the masks. Default: SegmentationClass, or another SegmentationClass* for missing ones.")
]
Json = Annotated[Path | None, Parameter(name="--json", help="Also write the numbers to this JSON file.")]
JsonOutput = Annotated[
    str | Path | None,
    Parameter(
        name="--json",
        help="Also write the numbers to this JSON file, or its URL.",
        converter=_output,
        n_tokens=1,
        accepts_keys=False,
    ),
]
Results = Annotated[
    Output | None, Parameter(help="Also write the results of each image to this folder, for `compare` and `report`.")
]
ShardOf = Annotated[
    str | None,
    Parameter(
        name="--shard",
        help="Only share I/N of the images, I from 1 to N: each image by its id, into OUT/shard-I-of-N, once; `vocseg merge OUT` "
        "makes one result of all shards. Processes of torchrun and accelerate take a shard each.",
    ),
]
RayAddress = Annotated[
    str | None,
    Parameter(
        name="--ray", metavar="ADDRESS|local",
        help="Share the images among the nodes of a Ray cluster, or among processes of this machine (`local`). Started again, a "
        "run that ended early goes on. Needs the extra `ray`.",
    ),
]  # fmt: skip
Actors = Annotated[Positive | None, Parameter(help="Processes of --ray. Default: one for each GPU, or without one, for each CPU.")]
Weights = Annotated[
    str | None,
    Parameter(help="coco, voc, backbone, none (see `vocseg models`) or a weights file. Default: the best available."),
]
Classes = Annotated[
    str | None,
    Parameter(help="Names of the classes that a weights file predicts, in order, separated by commas, if the file has none."),
]


def class_names(text: str | None) -> list[str] | None:
    """Split the value of ``--classes``."""
    return None if text is None else [name.strip() for name in text.split(",")]


@Parameter(name="*")
@dataclass(frozen=True)
class Truth:
    """The ground truth of a split."""

    data: DataFolder = "data"
    split: str = "val"
    """Split list in ImageSets/Segmentation."""
    mask_dir: str = MASKS
    """Folder of the masks in the data set, e.g. SegmentationClassAug."""

    def check(self) -> None:
        """Raise DataError if there is no such data set, or no such list in it, before torch is imported."""
        VocFolder.find(self.data, self.mask_dir).lines(self.split)


@Parameter(name="*")
@dataclass(frozen=True)
class Machine:
    """What runs a network."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device to compute on."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: bfloat16 if the processor or GPU computes in it, otherwise float32. float16 needs a GPU."""
    engine: Literal["auto", "torch", "compile", "openvino", "onnxruntime"] = "auto"
    """What runs the network. auto: OpenVINO, if installed, on a CPU for 200 images or more and in `vocseg serve`; else torch."""


@Parameter(name="*")
@dataclass(frozen=True)
class Pass(Machine):
    """How a network is run for the mask of an image."""

    weights: Weights = None
    max_short_side: Annotated[int | None, Parameter(validator=Number(gte=0))] = None
    """Shorter side in pixels to which larger images are shrunk for the network. 0: none. Default: 640 or the model's."""
    tta: Literal["none", "flip", "multiscale"] = "none"
    """Test-time augmentation: mean probabilities of the image and its mirror image, or of both at scales 0.75, 1, 1.25."""
    exact: Flag = False
    """Run the network unchanged in float32, not rewritten for speed."""


@Parameter(name="*")
@dataclass(frozen=True)
class Network(Pass):
    """How a network is run for the masks of many images."""

    batch_size: Positive | None = None
    """Images of equal size per batch. Default: 16 on a GPU, 1 on a CPU."""


def check_network(run: Machine, *models: str, weights: str | None = None) -> None:
    """Raise an error for files that do not exist, and options that contradict each other, before torch is imported."""
    exact = False
    if isinstance(run, Pass):
        weights, exact = run.weights, run.exact
    for model in models:
        check_files(model, weights)
    check_machine(run.device, run.precision, run.engine, exact)
