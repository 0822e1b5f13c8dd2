from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from vocseg import voc
from vocseg.errors import ModelError
from vocseg.models import ModelInfo, SegmentationModel, create_model, list_models, register_model, save_model
from vocseg.models.base import Padding
from vocseg.models.registry import REGISTERED


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("deeplabv3_resnet11", "unknown model 'deeplabv3_resnet11'; did you mean 'deeplabv3_resnet101'"),
        ("simple_conv", "did you mean 'simple_conv_net'"),
        ("unett:resnet18", "unknown architecture 'unett'; did you mean 'unet'"),
        ("unet:resnet19", "unknown encoder 'resnet19'; did you mean 'resnet1"),
        ("unet:tu-resnet19", "timm has no model 'resnet19'"),
        ("unet:", "unknown encoder ''"),
        ("none.safetensors", "no model file none.safetensors"),
        ("runs/none", "no model file runs/none"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        create_model(name, weights=None if "." in name or "/" in name else "none")


def test_a_run_folder_is_no_model_but_holds_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(tmp_path / "run" / "best.safetensors", create_model("two_layer_net"))
    monkeypatch.chdir(tmp_path)
    for name in ("run", "./run"):
        with pytest.raises(ModelError, match=r"^run is a folder, not a model file; run/best\.safetensors is one$"):
            create_model(name)
    for stage in (1, 2):
        save_model(tmp_path / "staged" / str(stage) / "best.safetensors", create_model("two_layer_net"))
    with pytest.raises(ModelError, match=r"^staged is a folder, not a model file; staged/2/best\.safetensors is one$"):
        create_model("staged/")


def test_unknown_weights() -> None:
    with pytest.raises(ModelError, match="unknown weights 'imagenet' for fcn_resnet50: it takes coco, backbone, none or a file"):
        create_model("fcn_resnet50", weights="imagenet")
    with pytest.raises(ModelError, match="unknown weights 'coco' for two_layer_net: it takes none or a file"):
        create_model("two_layer_net", weights="coco")


def test_missing_encoder_weights_say_how_to_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.getaddrinfo", _refuse)
    for encoder, repository in (("resnet18", "smp-hub/resnet18.imagenet"), ("tu-resnet18", "timm/resnet18.a1_in1k")):
        expected = f"^could not download the ImageNet weights of encoder {encoder} from https://[^ ]*{repository}/resolve/"
        with pytest.raises(ModelError, match=expected) as caught:
            create_model(f"unet:{encoder}")
        message = str(caught.value)
        assert "model.safetensors (" in message
        assert f"hf download {repository}" in message
        assert str(tmp_path) in message
        assert "the weights 'none'" in message
        assert "\n" not in message


def test_damaged_encoder_weights_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def damaged(*_: Any, **__: Any) -> None:
        raise SafetensorError("header too large")

    monkeypatch.setattr("segmentation_models_pytorch.create_model", damaged)
    with pytest.raises(
        ModelError, match=r"^the ImageNet weights of encoder resnet18 in .*models--smp-hub--resnet18\.imagenet are damaged"
    ):
        create_model("unet:resnet18")


def _refuse(*_: Any) -> None:
    raise OSError("no network")


def test_default_classes_are_vocs() -> None:
    assert create_model("two_layer_net").info.classes == voc.CLASSES
    assert create_model("two_layer_net").info.palette == voc.PALETTE[:21]


def build_tiny(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, num_classes, 1))


@pytest.fixture
def registered() -> Iterator[None]:
    before = dict(REGISTERED.entries)
    yield
    REGISTERED.entries = before


@pytest.mark.usefixtures("registered")
def test_a_registered_network_survives_its_file(tmp_path: Path) -> None:
    register_model(build_tiny, name="tiny", mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2), class_layers=["1"])
    assert "tiny" in list_models("t*")
    model = create_model("tiny", ["background", "cat"])
    save_model(tmp_path / "tiny.safetensors", model)
    again = create_model(str(tmp_path / "tiny.safetensors"))
    assert replace(again.info, vocseg_version=None) == model.info
    image = torch.randint(0, 256, (1, 3, 20, 30)).to(torch.uint8)
    assert torch.equal(again(image)["out"], model(image)["out"])
    other = create_model(str(tmp_path / "tiny.safetensors"), ["cat", "dog", "background"])
    assert torch.equal(other.network[1].weight[0], model.network[1].weight[1])
    assert torch.equal(other.network[0].weight, model.network[0].weight)
    register_model(build_tiny, name="tiny")  # as when a notebook's cell runs again


@pytest.mark.usefixtures("registered")
def test_a_registered_segmentation_model_survives_its_file(tmp_path: Path) -> None:
    @register_model
    def padded_net(num_classes: int) -> SegmentationModel:
        info = ModelInfo("padded_net", tuple(map(str, range(num_classes))), mean=(0, 0, 0), std=(1, 1, 1))
        return SegmentationModel(nn.Conv2d(3, num_classes, 8, stride=8), info, (), Padding(8))

    model = create_model("padded_net", ["background", "cat"]).eval()
    save_model(tmp_path / "m.safetensors", model)
    again = create_model(str(tmp_path / "m.safetensors")).eval()
    assert replace(again.info, vocseg_version=None) == model.info
    assert again.class_names == ("background", "cat")
    image = torch.randint(0, 256, (1, 3, 21, 30)).to(torch.uint8)
    assert model(image)["out"].shape == (1, 2, 21, 30)
    assert torch.equal(again(image)["out"], model(image)["out"])


@pytest.mark.usefixtures("registered")
def test_a_file_of_a_network_that_is_not_registered(tmp_path: Path) -> None:
    register_model(build_tiny, name="tiny")
    save_model(tmp_path / "tiny.safetensors", create_model("tiny"))
    del REGISTERED.entries["tiny"]
    with pytest.raises(ModelError, match=r"tiny\.safetensors is a model 'tiny', which is not registered.*--import FILE") as caught:
        create_model(str(tmp_path / "tiny.safetensors"))
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("name", ["vocseg-s", "fcn_resnet50", "a:b", "folder/net", "net.pth"])
def test_names_that_cannot_be_registered(name: str) -> None:
    with pytest.raises(ModelError, match=f"cannot register a model as '{name}'"):
        register_model(build_tiny, name=name)


@pytest.mark.usefixtures("registered")
def test_another_network_cannot_take_a_registered_name() -> None:
    register_model(build_tiny, name="tiny")
    with pytest.raises(ModelError, match="another one has that name"):
        register_model(nn.Identity, name="tiny")


@pytest.mark.usefixtures("registered")
def test_a_network_must_have_its_class_layers() -> None:
    register_model(build_tiny, name="tiny", class_layers=["head"])
    with pytest.raises(ModelError, match="model tiny was registered with the class layer 'head', which its network does not have"):
        create_model("tiny")


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(("output", "kind"), [((1, 2), "tuple"), ({"logits": 0}, r"a dict without 'out': \['logits'\]")])
def test_a_network_that_returns_something_else(output: object, kind: str) -> None:
    class Wrong(nn.Module):
        def forward(self, images: torch.Tensor) -> object:
            return output

    register_model(lambda num_classes: Wrong(), name="wrong")
    with pytest.raises(ModelError, match=f"network wrong returns {kind}"):
        create_model("wrong")(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))
