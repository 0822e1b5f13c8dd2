"""One tester for every family of networks: sizes, gradients, eval mode, batches, round trips."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vocseg.models import create_model, save_model
from vocseg.models.registry import list_models
from vocseg.models.zoo.smp import SmpFamily
from vocseg.training.losses import Criterion

SMALL = ["two_layer_net", "simple_conv_net", "lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v2", "vocseg-s"]
SMP = [f"{name}:{'tu-vit_tiny_patch16_224' if name == 'dpt' else 'resnet18'}" for name in SmpFamily().architectures()]
LARGE = ["deeplabv3_mobilenet_v3_large", "deeplabv3_resnet50", "fcn_resnet50"]


def images(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.mark.parametrize("name", SMALL + LARGE + SMP)
def test_shapes_gradients_and_class_layers(name: str) -> None:
    model = create_model(name, ["a", "b", "c"], "none")
    side = 64
    outputs = model(images(2, 3, side, side))
    with_aux = name in LARGE
    assert set(outputs) == ({"out", "aux"} if with_aux else {"out"})
    assert all(logits.shape == (2, 3, side, side) for logits in outputs.values())
    Criterion()(outputs, torch.randint(0, 3, (2, side, side))).total.backward()
    missing = [key for key, parameter in model.network.named_parameters() if parameter.grad is None]
    # some decoders do not use all of their encoder
    assert not [key for key in missing if not key.startswith("encoder.")]
    heads = model.head_parameters()
    assert heads
    assert all(parameter.shape[0] == 3 for parameter in heads)
    assert len(model.class_layers) == (2 if with_aux or name.startswith("lraspp") else 1)


@pytest.mark.parametrize("name", SMALL + ["deeplabv3_mobilenet_v3_large"] + SMP)
@pytest.mark.parametrize("size", [(1, 1), (33, 65), (70, 41)])
def test_any_size_in_eval_mode(name: str, size: tuple[int, int]) -> None:
    model = create_model(name, ["a", "b"], "none").eval()
    with torch.inference_mode():
        assert model(images(1, 3, *size))["out"].shape == (1, 2, *size)


@pytest.mark.parametrize("name", SMALL + ["unet:resnet18"])
def test_a_image_in_a_batch_is_that_image_alone(name: str) -> None:
    model = create_model(name, ["a", "b"], "none").eval()
    batch = images(3, 3, 64, 96)
    with torch.inference_mode():
        together = model(batch)["out"]
        alone = torch.cat([model(image[None])["out"] for image in batch])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_images_are_normalized_as_torchvision_does() -> None:
    from torchvision.transforms.v2 import functional as F

    model = create_model("two_layer_net", ["a", "b"]).eval()
    batch = images(2, 3, 16, 16)
    scaled = F.normalize(F.to_dtype(batch, torch.float32, scale=True), list(model.info.mean), list(model.info.std))
    torch.testing.assert_close(model(batch)["out"], model.network(scaled), rtol=1e-5, atol=1e-5)


def test_two_layer_net_is_affine_relu_affine_on_a_patch() -> None:
    network = create_model("two_layer_net", ["a", "b", "c"]).network.eval()
    batch = torch.randn(1, 3, 20, 20)
    patch = batch[:, :, 6:15, 6:15].flatten(1)
    hidden = torch.relu(patch @ network.affine1.weight.flatten(1).T + network.affine1.bias)
    want = hidden @ network.affine2.weight.flatten(1).T + network.affine2.bias
    torch.testing.assert_close(network(batch)[:, :, 10, 10], want, rtol=1e-4, atol=1e-5)


def test_simple_conv_net_has_the_books_layers() -> None:
    network = create_model("simple_conv_net", ["a", "b"]).network
    assert network.conv1.weight.shape == (30, 3, 5, 5)
    assert network.affine1.weight.shape == (100, 30, 12, 12)
    assert network.affine2.weight.shape == (2, 100, 1, 1)
    names = [type(module).__name__ for module in network.children()]
    assert names == ["Conv2d", "ReLU", "MaxPool2d", "ZeroPad2d", "Conv2d", "ReLU", "Conv2d"]


def test_names_are_unique() -> None:
    names = [*list_models(), *list_models("*:*")]
    assert len(names) == len(set(names)) > 900


@pytest.mark.parametrize("name", ["simple_conv_net", "unet:resnet18"])
def test_model_file_round_trip(name: str, tmp_path: Path) -> None:
    from dataclasses import replace

    model = create_model(name, ["a", "b"], "none").eval()
    info = replace(model.info, short_side=77, trained_on="nothing", scores={"val": {"miou": 0.5}}, palette=((1, 2, 3), (4, 5, 6)))
    save_model(tmp_path / "m.safetensors", model, info)
    again = create_model(str(tmp_path / "m.safetensors")).eval()
    assert again.info == replace(info, vocseg_version=again.info.vocseg_version)
    assert again.info.vocseg_version
    batch = images(1, 3, 64, 64)
    assert torch.equal(model(batch)["out"], again(batch)["out"])
