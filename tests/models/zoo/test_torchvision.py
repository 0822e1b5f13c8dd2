from __future__ import annotations

import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import get_model_weights

from vocseg import voc
from vocseg.errors import ModelError
from vocseg.models import create_model
from vocseg.models.zoo.torchvision import TorchvisionFamily


def conv(module: nn.Module) -> tuple[Any, ...]:
    assert isinstance(module, nn.Conv2d)
    return module.in_channels, module.out_channels, module.kernel_size[0], module.stride[0], module.padding[0], module.dilation[0]


def test_module_tree_of_deeplabv3_resnet101() -> None:
    with torch.device("meta"):
        network = create_model("deeplabv3_resnet101", weights="none").network
    body = network.backbone
    assert [len(body[f"layer{number}"]) for number in range(1, 5)] == [3, 4, 23, 3]
    assert conv(body["conv1"]) == (3, 64, 7, 2, 3, 1)
    assert [body[f"layer{number}"][0].conv2.stride[0] for number in range(1, 5)] == [1, 2, 1, 1]
    dilations = {3: [1] + [2] * 22, 4: [2, 4, 4]}
    for number, expected in dilations.items():
        blocks = body[f"layer{number}"]
        assert [block.conv2.dilation[0] for block in blocks] == expected
        assert [block.conv2.padding[0] for block in blocks] == expected
        assert all(block.conv2.stride == (1, 1) for block in blocks)
    aspp = network.classifier[0]
    assert len(aspp.convs) == 5
    assert conv(aspp.convs[0][0]) == (2048, 256, 1, 1, 0, 1)
    assert [conv(aspp.convs[branch][0]) for branch in (1, 2, 3)] == [(2048, 256, 3, 1, rate, rate) for rate in (12, 24, 36)]
    assert isinstance(aspp.convs[4][0], nn.AdaptiveAvgPool2d)
    assert aspp.convs[4][0].output_size == 1
    assert conv(aspp.convs[4][1]) == (2048, 256, 1, 1, 0, 1)
    assert conv(aspp.project[0]) == (1280, 256, 1, 1, 0, 1)
    assert aspp.project[3].p == 0.5
    assert conv(network.classifier[1]) == (256, 256, 3, 1, 1, 1)
    assert conv(network.classifier[4]) == (256, 21, 1, 1, 0, 1)
    assert conv(network.aux_classifier[0]) == (1024, 256, 3, 1, 1, 1)
    assert network.aux_classifier[3].p == 0.1
    assert conv(network.aux_classifier[4]) == (256, 21, 1, 1, 0, 1)
    assert sum(parameter.numel() for parameter in network.parameters()) == 60_996_202


@pytest.mark.parametrize("name", TorchvisionFamily().names())
def test_size_is_that_of_the_published_weights(name: str) -> None:
    with torch.device("meta"):
        network = create_model(name, weights="none").network
    published = get_model_weights(name).DEFAULT.meta["num_params"]
    assert sum(parameter.numel() for parameter in network.parameters()) == published


def test_coco_weights_go_in(monkeypatch: pytest.MonkeyPatch) -> None:
    source = create_model("lraspp_mobilenet_v3_large", weights="none").network.state_dict()
    monkeypatch.setattr("vocseg.models.zoo.torchvision._download", lambda weights: source)
    state = create_model("lraspp_mobilenet_v3_large").network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in source.items())


def test_coco_weights_keep_the_rows_of_classes_with_the_same_name(monkeypatch: pytest.MonkeyPatch) -> None:
    source = create_model("lraspp_mobilenet_v3_large", weights="none").network.state_dict()
    monkeypatch.setattr("vocseg.models.zoo.torchvision._download", lambda weights: source)
    network = create_model("lraspp_mobilenet_v3_large", ["person", "tram", "dog"]).network
    for name in ("low_classifier", "high_classifier"):
        weight, old = network.classifier.get_submodule(name).weight, source[f"classifier.{name}.weight"]
        assert torch.equal(weight[0], old[voc.CLASSES.index("person")])
        assert torch.equal(weight[2], old[voc.CLASSES.index("dog")])
        assert not any(torch.equal(weight[1], row) for row in old)
    assert torch.equal(network.backbone["0"][0].weight, source["backbone.0.0.weight"])


@pytest.mark.parametrize(("name", "builder"), [("lraspp_mobilenet_v3_large", "mobilenet_v3_large"), ("fcn_resnet50", "resnet50")])
def test_backbone_weights_go_in(name: str, builder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import torchvision

    source = torchvision.models.get_model(builder, weights=None).state_dict()
    asked = []
    monkeypatch.setattr("vocseg.models.zoo.torchvision._download", lambda weights: asked.append(weights) or source)
    network = create_model(name, weights="backbone").network
    state = network.backbone.state_dict()
    assert all(torch.equal(value, source.get(key, source.get(f"features.{key}"))) for key, value in state.items())
    assert builder in asked[0].url


def test_a_damaged_file_in_torchs_cache_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "lraspp_mobilenet_v3_large-d234d4ea.pth"
    file.parent.mkdir(parents=True)
    torch.save(create_model("lraspp_mobilenet_v3_large", weights="none").network.state_dict(), file)
    whole = file.read_bytes()
    for damaged in (whole[:-1000], whole[:100], b"", b"<html>not found</html>", whole[:200_000] + b"!" + whole[200_001:]):
        file.write_bytes(damaged)
        with pytest.raises(ModelError, match=r"d234d4ea\.pth is damaged \(.+\); delete it, and it is downloaded again$") as caught:
            create_model("lraspp_mobilenet_v3_large")
        assert "\n" not in str(caught.value)


def test_a_file_of_another_hash_than_its_name_says_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "hub" / "checkpoints" / "lraspp_mobilenet_v3_large-d234d4ea.pth"
    file.parent.mkdir(parents=True)
    torch.save(create_model("lraspp_mobilenet_v3_large", weights="none").network.state_dict(), file)
    create_model("lraspp_mobilenet_v3_large")
    assert f"{file} is not the file that its name says: its SHA-256 starts with " in caplog.text


def test_missing_download_is_one_line_that_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr("torch.hub.urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", "/nonexistent")
    for weights in ("coco", "backbone"):
        with pytest.raises(
            ModelError, match=r"^could not download weights from https://.*\.pth \(.+\)\. If you are offline, .*the weights 'none'"
        ) as caught:
            create_model("lraspp_mobilenet_v3_large", weights=weights)
        assert "\n" not in str(caught.value)
