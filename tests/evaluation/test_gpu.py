"""Prediction and evaluation on a GPU against the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import vocseg
from vocseg.data.samples import FOLDER
from vocseg.inference.segmenter import Segmenter
from vocseg.metrics import ConfusionMatrix
from vocseg.models import create_model

pytestmark = pytest.mark.gpu


def pictures(count: int) -> list[torch.Tensor]:
    sizes = [(96, 128), (128, 96), (130, 150)]
    return [torch.randint(0, 256, (3, *sizes[number % 3]), dtype=torch.uint8) for number in range(count)]


@pytest.mark.parametrize(("precision", "least"), [("float32", 0.999), ("bfloat16", 0.97), ("float16", 0.99)])
def test_masks_are_those_of_the_cpu(precision: str, least: float) -> None:
    images = sorted((FOLDER / "JPEGImages").iterdir())
    on_cpu = Segmenter(device="cpu", exact=True)(images)
    on_gpu = Segmenter(device="cuda", precision=precision)(images)
    for one, other in zip(on_cpu, on_gpu, strict=True):
        assert other.mask.device.type == "cpu"
        assert float((one.mask == other.mask).float().mean()) > least


def test_batches_are_one_at_a_time() -> None:
    images = pictures(40)
    segment = Segmenter(device="cuda", precision="float32")
    alone, together = [segment(image) for image in images], segment(images)
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one.image, other.image)
        assert float((one.mask == other.mask).float().mean()) > 0.999
        torch.testing.assert_close(one.probabilities(), other.probabilities(), rtol=1e-2, atol=1e-3)


def test_compiled() -> None:
    images = pictures(3)
    model = create_model("two_layer_net")
    plain, compiled = (Segmenter(model, device="cuda", precision="float32", engine=engine) for engine in ("torch", "compile"))
    for one, other in zip(plain(images), compiled(images), strict=True):
        assert float((one.mask == other.mask).float().mean()) > 0.999


@pytest.mark.parametrize("batch_size", [1, None])
def test_evaluation_is_that_of_the_cpu(batch_size: int | None, tmp_path: Path) -> None:
    on_cpu = vocseg.evaluate("vocseg-s", FOLDER, "samples", device="cpu", exact=True)
    on_gpu = vocseg.evaluate(
        "vocseg-s", FOLDER, "samples", device="cuda", precision="float32", batch_size=batch_size, save_masks=tmp_path
    )
    assert on_gpu.miou == pytest.approx(on_cpu.miou, abs=0.003)
    assert on_gpu.loss == pytest.approx(on_cpu.loss, rel=0.02)
    assert len(list(tmp_path.iterdir())) == 4


def test_the_confusion_matrix_does_not_wait_for_the_gpu() -> None:
    prediction = torch.randint(0, 21, (2, 60, 80), device="cuda")
    target = torch.randint(0, 21, (2, 60, 80), device="cuda").masked_fill(prediction == 3, 255)
    matrix, want = ConfusionMatrix([str(label) for label in range(21)]), ConfusionMatrix([str(label) for label in range(21)])
    matrix.update(prediction, target)  # whatever the first use of a kernel waits for
    matrix.reset()
    torch.cuda.set_sync_debug_mode("error")
    try:
        matrix.update(prediction, target)
        matrix.update(prediction, target)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for _ in range(2):
        want.update(prediction.cpu(), target.cpu())
    assert matrix.compute() == want.compute()
    matrix.update(prediction + 1, target)
    with pytest.raises(vocseg.InputError, match="pixels have a predicted or true value outside the classes"):
        matrix.compute()
