"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

DataOption = Annotated[str, Parameter(help="Folder that holds VOCdevkit, VOCdevkit itself, or a folder in VOC layout.")]
SplitOption = Annotated[str, Parameter(help="Split list in ImageSets/Segmentation.")]
MaskDirOption = Annotated[str, Parameter(help="Folder of the masks in the data set, e.g. SegmentationClassAug.")]
WeightsOption = Annotated[
    str | None,
    Parameter(help="coco, voc, backbone, none (see `vocseg models`) or a weights file. Default: the best available."),
]
DeviceOption = Annotated[Literal["auto", "cpu", "cuda", "mps"], Parameter(help="Device to compute on.")]
PrecisionOption = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    Parameter(help="auto: bfloat16 if the processor or GPU computes in it, otherwise float32. float16 needs a GPU."),
]
EngineOption = Annotated[
    Literal["auto", "torch", "compile", "openvino", "onnxruntime"],
    Parameter(help="What runs the network. auto: OpenVINO, if installed, for 200 images or more on a CPU in float32, else torch."),
]
BatchSizeOption = Annotated[
    int | None,
    Parameter(validator=Number(gte=1), help="Images of equal size per batch. Default: 16 on a GPU, 1 on a CPU."),
]
MaxShortSideOption = Annotated[
    int | None,
    Parameter(
        validator=Number(gte=0),
        help="Shorter side in pixels to which larger images are shrunk for the network. 0: none. Default: 640 or the model's.",
    ),
]
ExactOption = Annotated[bool, Parameter(negative=(), help="Run the network unchanged in float32, not rewritten for speed.")]
JsonOption = Annotated[Path | None, Parameter(name="--json", help="Also write the numbers to this JSON file.")]
