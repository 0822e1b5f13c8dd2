"""Images, and the comparison of an exported file's masks with its model's."""

from __future__ import annotations

import torch
from torch import Tensor

from vocseg.export.onnx import Masker
from vocseg.models import SegmentationModel


def images(count: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def assert_gives_the_masks(model: SegmentationModel, masker: Masker, batch: Tensor) -> None:
    with torch.inference_mode():
        expected = model(batch)["out"].argmax(1)
    masks = masker(batch)
    assert masks.dtype == torch.uint8
    assert masks.shape == expected.shape
    assert float((masks == expected).float().mean()) > 0.999
