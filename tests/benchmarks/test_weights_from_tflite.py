"""benchmarks/weights_from_tflite.py."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from benchmarks.scripts import load
from vocseg.data.image_io import read_image
from vocseg.data.samples import FOLDER as SAMPLES
from vocseg.models import create_model


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return load("weights_from_tflite")


def test_folded_weights_make_the_same_network(script: ModuleType) -> None:
    torch.manual_seed(0)
    before = create_model("deeplabv3_mobilenet_v2").eval()
    values: list[tuple[torch.Tensor, torch.Tensor]] = []
    pending: nn.Conv2d | None = None
    for part in before.network.modules():
        if isinstance(part, nn.Conv2d):
            if part.bias is not None:
                values.append((part.weight, part.bias))
            pending = part
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            for numbers in (part.bias, part.running_mean):
                nn.init.normal_(numbers, std=0.1)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
            assert pending is not None
            folded = fuse_conv_bn_weights(
                pending.weight, None, part.running_mean, part.running_var, part.eps, part.weight, part.bias
            )
            values.append(folded)
    assert len(list(script.layers())) == len(values)
    after = create_model("deeplabv3_mobilenet_v2").eval()
    script.fill(after.network, values)
    image = torch.randint(0, 256, (1, 3, 49, 65), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(after(image)["out"], before(image)["out"], rtol=1e-3, atol=1e-3)


def test_measured_norms_compute_the_same_and_fit_their_inputs(script: ModuleType) -> None:
    torch.manual_seed(0)
    model = create_model("deeplabv3_mobilenet_v2").eval()
    for part in model.network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.bias)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    photographs = sorted((SAMPLES / "JPEGImages").glob("*.jpg"))[:1]
    image = read_image(photographs[0])[None]
    with torch.no_grad():
        before = model(image)["out"]
        script.measure_norms(model, photographs)
        torch.testing.assert_close(model(image)["out"], before, rtol=1e-3, atol=1e-4)
        for part in model.network.modules():  # the image's own statistics are now the running ones
            part.train(isinstance(part, nn.BatchNorm2d) and part is not model.network.image_pooling[1])  # one value a channel
        torch.testing.assert_close(model(image)["out"], before, rtol=2e-2, atol=2e-2)
