"""Export a model to a file for other programs, which is written only if it gives the model's masks."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from vocseg.data.dataset import SplitDataset
from vocseg.data.image_io import read_image
from vocseg.data.layout import VocFolder, protect_data
from vocseg.data.samples import photographs
from vocseg.errors import SettingError, shown
from vocseg.export.int8 import quantize
from vocseg.export.onnx import read_onnx, write_onnx
from vocseg.export.openvino import read_openvino, write_openvino
from vocseg.export.parity import Parity, compare, input_of
from vocseg.export.report import ExportReport
from vocseg.inference.segmenter import Segmenter
from vocseg.models import ModelInfo, SegmentationModel
from vocseg.models.any_model import as_model
from vocseg.models.registry import require_trained
from vocseg.utils.arguments import checked
from vocseg.utils.files import is_file_name, refuse_to_replace, synchronize, write_json
from vocseg.utils.progress import progress
from vocseg.utils.temporary import temporary_beside
from vocseg.voc import MASKS

Format = Literal["onnx", "openvino"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml"}


@checked
def export(
    model: str | Path | nn.Module = "vocseg-s",
    out: str | Path | None = None,
    *,
    to: Format = "onnx",
    size: tuple[int, int] | None = None,
    weights: str | None = None,
    classes: Sequence[str] | None = None,
    int8: bool = False,
    data: str | Path | None = None,
    split: str = "val",
    mask_dir: str = MASKS,
    calibrate_on: str = "train",
    calibration_images: int = 300,
    max_loss: float = 0.3,
    json: str | Path | None = None,
) -> ExportReport:
    """Export a model to ONNX or OpenVINO.

    The file is one graph from uint8 RGB images (N x 3 x H x W) to masks (uint8 class ids, N x H x W). Normalization,
    padding, upsampling and arg max are inside. ``model`` is a name or a model file, ``weights`` those of
    :func:`vocseg.create_model`; or ``model`` is a network, with the names of its ``classes`` unless it knows them.
    ``out`` is the .onnx or .xml file (OpenVINO's weights go into a .bin beside it), by default the model's name in the
    current folder. ``size`` (height, width) fixes the size of the images; None: any size. ``json``: a file for the
    report.

    File and model segment the same images, and the file is written only if 99.9 % of the pixels get the same class: the
    images of ``split`` in ``data`` (a folder in VOC layout), whose masks give the mIoU of both, or the package's
    photographs.

    ``int8`` (with ``to="openvino"`` and ``data``) quantizes weights and activations to 8 bits. Their ranges come from
    ``calibration_images`` images of the split ``calibrate_on``. The file may lose ``max_loss`` points of mIoU.

    Raises ExportError if the file's masks differ, ModelError if the network cannot be exported or a package is missing,
    SettingError, DataError, OutputError.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = export("two_layer_net", f"{folder}/net.onnx", weights="none")
    >>> report.parity.same_pixels >= 0.999
    True
    """
    if size is not None and min(size) < 1:
        raise SettingError(f"size is {size!r}, not (height, width) in pixels")
    if int8 and to != "openvino":
        raise SettingError("int8 requires the format openvino")
    if int8 and data is None:
        raise SettingError("int8 requires data: images to calibrate on and masks to compare the scores")
    network = as_model(model, classes, weights) if isinstance(model, nn.Module) else None
    name = str(model) if network is None else network.info.architecture
    path = _output(name, out, to)
    written = [path, path.with_suffix(".bin")] if to == "openvino" else [path]
    outputs = [*written, None if json is None else Path(json)]
    refuse_to_replace(outputs, [name, weights])
    if data is not None:
        protect_data(data, [mask_dir], outputs)
    if network is None:
        require_trained(name, weights)
        network = as_model(name, classes, weights)
    compare_on = calibration = None
    if data is not None:
        folder = VocFolder.find(data, mask_dir)
        compare_on = SplitDataset(folder, split)
        network.info.check_classes(compare_on.classes, str(folder.root))
        calibration = _evenly_spaced(SplitDataset(folder, calibrate_on), calibration_images) if int8 else None
    parity = write_checked(network, path, to, size, compare_on, calibration, max_loss)
    report = ExportReport(shown(name), path, sum(part.stat().st_size for part in written), parity)
    if json is not None:
        write_json(Path(json), report.to_dict())
    return report


def write_checked(
    model: SegmentationModel,
    path: Path,
    to: Format,
    size: tuple[int, int] | None = None,
    compare_on: SplitDataset | None = None,
    calibration: list[Path] | None = None,
    max_loss: float = 0.3,
) -> Parity:
    """Write the file beside ``path``, compare it with its model, and move it to ``path`` if it passes.

    ``calibration``: images for int8; None: the file stays in float32. Raises as :func:`export` does.
    """
    with temporary_beside(path, is_folder=True) as folder:
        file = folder / path.name
        _write(model, file, to, size, calibration)
        masker, _ = read_openvino(file, exact=calibration is None) if to == "openvino" else read_onnx(file)
        as_file = copy.copy(model)  # the file resizes no image
        as_file.info = replace(model.info, short_side=None)
        exact, fast = (Segmenter(as_file, device="cpu", exact=exact, max_short_side=0) for exact in (True, False))
        parity = compare(masker, exact, fast, _images(compare_on, model.info, size))
        parity.check(None if calibration is None else max_loss)
        parts = [file.with_suffix(".bin"), file] if to == "openvino" else [file]
        for part in parts:
            synchronize(part)
        if len(parts) > 1:  # after a kill, the .xml is missing rather than beside the .bin of another network
            path.unlink(missing_ok=True)
        for part in parts:
            os.replace(part, path.with_suffix(part.suffix))
    return parity


def _output(name: str, out: str | Path | None, to: Format) -> Path:
    if out is None:
        return Path((Path(name).stem if is_file_name(name) else name.replace(":", "-")) + SUFFIXES[to])
    if Path(out).suffix != SUFFIXES[to]:
        raise SettingError(f"out {out} must end in {SUFFIXES[to]} for {to}")
    return Path(out)


def _write(model: SegmentationModel, path: Path, to: Format, size: tuple[int, int] | None, calibration: list[Path] | None) -> None:
    if to == "onnx":
        return write_onnx(model, path, size)
    graph, floating = path.with_name("graph.onnx"), path.with_name("floating.xml")
    write_onnx(model, graph, size)
    write_openvino(graph, path if calibration is None else floating, model.info)
    if calibration is not None:
        files = progress(calibration, len(calibration), "calibrate")
        quantize(floating, path, [input_of(read_image(file), model.info, size) for file in files])
    return None


def _images(dataset: SplitDataset | None, info: ModelInfo, size: tuple[int, int] | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Read the images to compare on, as the file takes them, with their masks if the classes are the model's."""
    shown = photographs() if dataset is None else dataset
    for index in progress(range(len(shown)), len(shown), f"compare on {shown.split}"):
        sample = shown.read(index)
        yield input_of(sample.image, info, size), None if dataset is None else sample.mask


def _evenly_spaced(dataset: SplitDataset, images: int) -> list[Path]:
    count = min(images, len(dataset))
    return [dataset.folder.image(dataset.names[index * len(dataset) // count]) for index in range(count)]
