"""From a model to a file for another program, written only where it does what the model does."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from vocseg.data.dataset import SplitDataset
from vocseg.data.image_io import read_image
from vocseg.data.loader import samples
from vocseg.data.samples import photographs
from vocseg.export.int8 import quantize
from vocseg.export.onnx import read_onnx, write_onnx
from vocseg.export.openvino import read_openvino, write_openvino
from vocseg.export.parity import Parity, compare, input_of
from vocseg.inference.segmenter import Segmenter
from vocseg.models import SegmentationModel
from vocseg.utils.files import cannot_write
from vocseg.utils.progress import progress

Format = Literal["onnx", "openvino"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml"}


@dataclass(frozen=True)
class Int8:
    """What a file in 8-bit integers is made with, images for its ranges, and the points of mIoU that it may lose."""

    calibration: SplitDataset
    images: int
    max_loss: float


def export(
    model: SegmentationModel,
    path: Path,
    form: Format,
    *,
    size: tuple[int, int] | None = None,
    judged_on: SplitDataset | None = None,
    int8: Int8 | None = None,
) -> Parity:
    """Write a model to ``path`` (OpenVINO: and the .bin beside it), if the file does what the model does (:mod:`.gate`).

    ``size`` (height, width): take images of that one alone. ``judged_on``: the split that both segment; None: the
    photographs that come with the package. ``int8`` goes with OpenVINO. Raises ExportError where file and model differ,
    ModelError where the network cannot be exported or a package is missing, OutputError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            made = _write(model, Path(folder) / path.name, form, size, int8)
            masker, _ = read_openvino(made, exact=int8 is None) if form == "openvino" else read_onnx(made)
            exact, fast = Segmenter(model, device="cpu", exact=True), Segmenter(model, device="cpu")
            parity = compare(masker, exact, fast, _seen(judged_on), size)
            parity.check(None if int8 is None else int8.max_loss)
            # The description last: it is what is looked for.
            for part in [made.with_suffix(".bin"), made] if form == "openvino" else [made]:
                os.replace(part, path.with_suffix(part.suffix))
        return parity
    except OSError as error:
        raise cannot_write(path, error) from error


def _write(model: SegmentationModel, path: Path, form: Format, size: tuple[int, int] | None, int8: Int8 | None) -> Path:
    if form == "onnx":
        write_onnx(model, path, size)
        return path
    graph, floating = path.with_name("graph.onnx"), path.with_name("floating.xml")
    write_onnx(model, graph, size)
    write_openvino(graph, floating if int8 else path, model.info)
    if int8 is not None:
        quantize(floating, path, [input_of(image, model.info.short_side, size) for image in _some(int8)])
    return path


def _seen(dataset: SplitDataset | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    """The images that file and model are compared on, with their masks where the classes are the data's."""
    if dataset is None:
        ours = photographs()
        for name in ours.names:
            yield read_image(ours.folder.image(name)), None
        return
    for image, mask, _, _ in progress(samples(dataset, workers=0), len(dataset), f"compare on {dataset.split}"):
        yield image, mask


def _some(int8: Int8) -> Iterator[Tensor]:
    """Images of the calibration split, evenly spaced over it."""
    dataset = int8.calibration
    count = min(int8.images, len(dataset))
    for place in progress(range(count), count, "calibrate"):
        yield read_image(dataset.folder.image(dataset.names[place * len(dataset) // count]))


def file_bytes(path: Path) -> int:
    """Bytes of an exported file, the .bin beside it included."""
    beside = path.with_suffix(".bin")
    return path.stat().st_size + (beside.stat().st_size if path.suffix == ".xml" and beside.exists() else 0)
