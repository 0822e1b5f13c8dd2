"""One tester that every family of networks inherits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vocseg.models import SegmentationModel, create_model, list_models, register_model, save_model
from vocseg.models.registry import REGISTERED
from vocseg.models.zoo.smp import SmpFamily

CLASSES = ["a", "b", "c"]


def images(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def create(name: str) -> SegmentationModel:
    torch.manual_seed(0)
    return create_model(name, CLASSES, "none")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames and metafunc.cls is not None:
        metafunc.parametrize("name", metafunc.cls.names, scope="class")


class NetworkTester:
    """What holds for every network; a family inherits it with its ``names``."""

    names: ClassVar[list[str]]
    auxiliary = False
    backbone = True
    features: ClassVar[set[str]] = {"encoder"}
    unused_in_training: ClassVar[str | None] = None
    """Prefix of parameters that may get no gradient."""

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, name: str) -> SegmentationModel:
        return create(name).eval()

    @pytest.mark.parametrize("size", [(1, 1), (33, 65), (70, 41)])
    def test_any_size_in_eval_mode(self, model: SegmentationModel, size: tuple[int, int]) -> None:
        with torch.inference_mode():
            logits = model(images(1, 3, *size))["out"]
        assert logits.shape == (1, 3, *size)
        assert logits.dtype == torch.float32
        assert logits.isfinite().all()

    def test_low_res_logits_are_the_logits(self, model: SegmentationModel) -> None:
        batch = images(2, 3, 70, 41)
        with torch.inference_mode():
            logits = model(batch)["out"]
            low = model.low_res_logits(batch)["out"]
            torch.testing.assert_close(low.full(), logits, rtol=0, atol=0)
            torch.testing.assert_close(low.interpolated(), logits, rtol=1e-4, atol=1e-4)
            same = low.classes() == logits.argmax(1)
        assert low.size == (70, 41)
        assert float(same.float().mean()) > 0.999

    def test_parts_are_those_of_forward(self, model: SegmentationModel) -> None:
        batch = images(1, 3, 45, 67)
        with torch.inference_mode():
            values = model.layers(model.pad(model.normalize(batch)))["out"]
            torch.testing.assert_close(model.upsample(values, 45, 67).full(), model(batch)["out"], rtol=1e-4, atol=1e-4)
            padded = model.pad(model.normalize(batch)).shape[-2:]
            whole = model.upsample_to_padded(values, (padded[0], padded[1])).full()
        assert whole.shape[-2:] == padded

    def test_every_parameter_learns(self, name: str) -> None:
        model = create(name)
        outputs = model(images(2, 3, 64, 64))
        assert set(outputs) == ({"out", "aux"} if self.auxiliary else {"out"})
        assert all(logits.shape == (2, 3, 64, 64) for logits in outputs.values())
        target = torch.randint(0, 3, (2, 64, 64))
        sum(cross_entropy(logits, target) for logits in outputs.values()).backward()  # type: ignore[union-attr]
        missing = [key for key, parameter in model.network.named_parameters() if parameter.grad is None]
        if self.unused_in_training is not None:
            missing = [key for key in missing if not key.startswith(self.unused_in_training)]
        assert missing == []

    def test_groups_of_parameters(self, model: SegmentationModel) -> None:
        heads, backbone = ({id(parameter) for parameter in part} for part in (model.head_parameters(), model.backbone_parameters()))
        assert all(parameter.shape[0] == 3 for parameter in model.head_parameters())
        assert heads
        assert bool(backbone) == self.backbone
        assert not heads & backbone
        assert heads | backbone <= {id(parameter) for parameter in model.network.parameters()}

    def test_features_are_computed(self, model: SegmentationModel) -> None:
        assert set(model.features) == self.features
        seen: set[str] = set()
        hooks = [
            module.register_forward_hook(lambda *_, name=name: seen.add(name))  # type: ignore[misc]
            for name, module in model.features.items()
        ]
        with torch.inference_mode():
            model(images(1, 3, 64, 64))
        for hook in hooks:
            hook.remove()
        assert seen == self.features

    def test_without_auxiliary(self, name: str) -> None:
        model = create(name).eval()
        batch = images(1, 3, 48, 64)
        with torch.inference_mode():
            before = model(batch)["out"]
            assert model.without_auxiliary() is model
            after = model(batch)
        assert set(after) == {"out"}
        assert torch.equal(after["out"], before)

    def test_an_image_in_a_batch_is_that_image_alone(self, model: SegmentationModel) -> None:
        batch = images(3, 3, 64, 96)
        with torch.inference_mode():
            together = model(batch)["out"]
            alone = torch.cat([model(image[None])["out"] for image in batch])
        torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-3)

    def test_model_file_round_trip(self, model: SegmentationModel, tmp_path: Path) -> None:
        palette = ((1, 2, 3), (4, 5, 6), (7, 8, 9))
        info = replace(model.info, short_side=77, trained_on="nothing", scores={"val": {"miou": 0.5}}, palette=palette)
        save_model(tmp_path / "m.safetensors", model, info)
        again = create_model(str(tmp_path / "m.safetensors")).eval()
        assert again.info == replace(info, vocseg_version=again.info.vocseg_version)
        assert again.info.vocseg_version
        batch = images(1, 3, 64, 64)
        with torch.inference_mode():
            assert torch.equal(model(batch)["out"], again(batch)["out"])


class TestVocsegS(NetworkTester):
    names: ClassVar[list[str]] = ["vocseg-s"]
    features: ClassVar[set[str]] = {"encoder", "pyramid"}


class TestTorchvision(NetworkTester):
    names: ClassVar[list[str]] = ["deeplabv3_mobilenet_v3_large", "deeplabv3_resnet50", "fcn_resnet50"]
    auxiliary = True


class TestLraspp(NetworkTester):
    names: ClassVar[list[str]] = ["lraspp_mobilenet_v3_large"]


class TestDeepLabMobileNet(NetworkTester):
    names: ClassVar[list[str]] = ["deeplabv3_mobilenet_v2"]
    features: ClassVar[set[str]] = {"encoder", "pyramid"}


class TestBaselines(NetworkTester):
    names: ClassVar[list[str]] = ["two_layer_net", "simple_conv_net"]
    backbone = False
    features: ClassVar[set[str]] = set()


class TestSmp(NetworkTester):
    names: ClassVar[list[str]] = [
        f"{name}:{'tu-vit_tiny_patch16_224' if name == 'dpt' else 'resnet18'}" for name in SmpFamily().architectures()
    ]
    unused_in_training = "encoder."  # some decoders do not use all features of their encoder


class TestRegistered(NetworkTester):
    names: ClassVar[list[str]] = ["tester_net"]
    backbone = False
    features: ClassVar[set[str]] = set()

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _registered(cls) -> Iterator[None]:
        @register_model(name="tester_net", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), class_layers=["2"])
        def build(num_classes: int) -> nn.Module:
            return nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, num_classes, 1))

        yield
        del REGISTERED.entries["tester_net"]

    def test_normalization(self, model: SegmentationModel) -> None:
        assert model.info.mean == (0.5, 0.5, 0.5)
        assert model.normalize(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)).flatten().tolist() == [2, 2, 2]


def test_images_are_normalized_as_torchvision_does() -> None:
    from torchvision.transforms.v2 import functional as F

    model = create_model("two_layer_net", ["a", "b"]).eval()
    batch = images(2, 3, 16, 16)
    scaled = F.normalize(F.to_dtype(batch, torch.float32, scale=True), list(model.info.mean), list(model.info.std))
    torch.testing.assert_close(model(batch)["out"], model.network(scaled), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large"])
def test_torchvision_networks_give_torchvisions_logits(name: str) -> None:
    from torchvision.transforms.v2 import functional as F

    model = create(name).eval()
    batch = images(1, 3, 61, 83)
    scaled = F.normalize(F.to_dtype(batch, torch.float32, scale=True), list(model.info.mean), list(model.info.std))
    with torch.inference_mode():
        torch.testing.assert_close(model(batch)["out"], model.network(scaled)["out"], rtol=1e-4, atol=1e-4)


def test_smp_networks_give_smps_logits() -> None:
    import segmentation_models_pytorch as smp
    from torchvision.transforms.v2 import functional as F

    theirs = smp.FPN("resnet18", encoder_weights=None, classes=3).eval()
    ours = create("fpn:resnet18").eval()
    ours.network.load_state_dict(theirs.state_dict())
    batch = images(1, 3, 64, 96)
    scaled = F.normalize(F.to_dtype(batch, torch.float32, scale=True), list(ours.info.mean), list(ours.info.std))
    with torch.inference_mode():
        torch.testing.assert_close(ours(batch)["out"], theirs(scaled), rtol=1e-4, atol=1e-4)


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
