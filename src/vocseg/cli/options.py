"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

DataOption = Annotated[str, Parameter(help="Folder that holds VOCdevkit, VOCdevkit itself, or a folder in VOC layout.")]
SplitOption = Annotated[str, Parameter(help="Split list in ImageSets/Segmentation.")]
MaskDirOption = Annotated[str, Parameter(help="Folder of the true masks in the data set, e.g. SegmentationClassAug.")]
WeightsOption = Annotated[
    str | None,
    Parameter(help="coco, voc, backbone, none (`vocseg models` lists them) or a weights file; by default the best it comes with."),
]
DeviceOption = Annotated[Literal["auto", "cpu", "cuda", "mps"], Parameter(help="Where to compute.")]
PrecisionOption = Annotated[
    Literal["auto", "float32", "bfloat16"],
    Parameter(help="auto: bfloat16 where the processor is measurably faster with it, or the GPU has it."),
]
EngineOption = Annotated[
    Literal["auto", "torch", "compile", "openvino", "onnxruntime"],
    Parameter(help="What runs the network; auto: torch, or OpenVINO where it pays for that many images."),
]
ExactOption = Annotated[bool, Parameter(negative=(), help="Run the plain network in float32, not the one rewritten for speed.")]
JsonOption = Annotated[Path | None, Parameter(name="--json", help="Write the numbers to this file as well.")]
