from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from vocseg.export.export import export
from vocseg.models import SegmentationModel


def test_int8_is_smaller_and_much_the_same(model: SegmentationModel, synth: Path, openvino_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "network.xml"
    report = export(model, path, to="openvino", int8=True, data=synth, split="train", calibration_images=4, max_loss=100)
    assert report.parity.images == 6
    assert report.bytes == path.stat().st_size + path.with_suffix(".bin").stat().st_size
    assert report.bytes < 0.45 * (openvino_file.stat().st_size + openvino_file.with_suffix(".bin").stat().st_size)
    assert quantized(path, "Convolution")
    assert not quantized(path, "GroupConvolution")  # depthwise


def quantized(path: Path, kind: str) -> bool:
    """Whether layers of a kind take 8-bit values."""
    root = ElementTree.parse(path).getroot()
    kinds = {layer.get("id"): layer.get("type") for layer in root.iter("layer")}
    assert kind in kinds.values()
    edges = [(kinds[edge.get("from-layer")], kinds[edge.get("to-layer")]) for edge in root.iter("edge")]
    return ("FakeQuantize", kind) in edges
