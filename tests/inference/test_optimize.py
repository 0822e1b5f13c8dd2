"""The rewritten networks against the plain ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vocseg.errors import ModelError
from vocseg.inference.optimize import OptimizedModel, fold_batch_norm
from vocseg.models import ModelInfo, SegmentationModel, create_model

NETWORKS = ["two_layer_net", "simple_conv_net", "lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", "deeplabv3_resnet50"]
SMP = ["unet:resnet18", "deeplabv3plus:tu-tf_efficientnet_lite0", "upernet:resnet18", "segformer:mit_b0", "pan:resnet18"]


def trained(name: str) -> SegmentationModel:
    """A model whose batch normalization has statistics that matter."""
    model = create_model(name, ["a", "b", "c"], "none").eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return model


@pytest.mark.parametrize("name", NETWORKS + SMP)
@pytest.mark.parametrize("shape", [(1, 3, 65, 97), (3, 3, 64, 64)])
def test_same_logits(name: str, shape: tuple[int, ...]) -> None:
    model = trained(name)
    images = torch.randint(0, 256, shape, dtype=torch.uint8)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimized = OptimizedModel(model)
    with torch.inference_mode():
        want = model(images)["out"]
        got = optimized(images).full()
    assert float((got - want).abs().max()) <= 1e-4 * float(want.abs().max())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_normalization_stays_float32_in_bfloat16() -> None:
    model = trained("two_layer_net")
    optimized = OptimizedModel(model, precision=torch.bfloat16)
    assert all(parameter.dtype == torch.bfloat16 for parameter in optimized.model.parameters())
    images = torch.randint(0, 256, (1, 3, 20, 30), dtype=torch.uint8)
    # bfloat16 holds 123.675, the mean of red, as 123.5.
    assert torch.equal(optimized.model.normalize(images), model.normalize(images))


@pytest.mark.parametrize("name", ["deeplabv3_resnet50", "unet:resnet18", "deeplabv3plus:tu-tf_efficientnet_lite0"])
def test_every_batch_norm_is_folded(name: str) -> None:
    model = trained(name).without_auxiliary()
    count = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert fold_batch_norm(model) == count > 0
    assert sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == 0


def test_a_convolution_used_twice_is_not_folded() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.conv(x)) + self.conv(x)

    assert fold_batch_norm(SegmentationModel(Twice().eval(), ModelInfo("twice", ("a", "b", "c")))) == 0


def test_wrong_number_of_class_names() -> None:
    network = nn.Conv2d(3, 5, 1)
    with pytest.raises(ModelError, match="predicts 5 classes, but has 2 class names"):
        OptimizedModel(SegmentationModel(network, ModelInfo("plain", ("a", "b"))))
