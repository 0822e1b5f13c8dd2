"""State dicts with any prefix, for the same classes or others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from vocseg import voc
from vocseg.errors import ModelError
from vocseg.models import SegmentationModel, create_model, save_model


def assert_same_weights(one: SegmentationModel, other: SegmentationModel) -> None:
    for (key, value), (other_key, other_value) in zip(
        one.network.state_dict().items(), other.network.state_dict().items(), strict=True
    ):
        assert key == other_key
        assert torch.equal(value, other_value), key


@pytest.mark.parametrize("name", ["simple_conv_net", "unet:resnet18", "deeplabv3_mobilenet_v3_large", "vocseg-s"])
@pytest.mark.parametrize("prefix", ["", "module.", "network.", "model.", "net.", "_orig_mod.module.", "wrapper.segmenter."])
def test_prefixes_are_removed(name: str, prefix: str, tmp_path: Path) -> None:
    model = create_model(name, ["a", "b"], "none")
    torch.save({prefix + key: value for key, value in model.network.state_dict().items()}, tmp_path / "w.pth")
    assert_same_weights(create_model(name, ["a", "b"], str(tmp_path / "w.pth")), model)


def test_a_state_dict_of_smp_itself(tmp_path: Path) -> None:
    import segmentation_models_pytorch as smp

    theirs = smp.Unet("resnet18", encoder_weights=None, classes=4).state_dict()
    torch.save(theirs, tmp_path / "u.pth")
    model = create_model("unet:resnet18", ["a", "b", "c", "d"], str(tmp_path / "u.pth"))
    assert model.network.state_dict().keys() == theirs.keys()
    assert all(torch.equal(value, theirs[key]) for key, value in model.network.state_dict().items())


def test_a_checkpoint_of_lightning(tmp_path: Path) -> None:
    model = create_model("unet:resnet18", ["a", "b"], "none")
    state = {f"model.{key}": value for key, value in model.network.state_dict().items()}
    state |= {"loss.weight": torch.ones(2), "val_miou.confmat": torch.zeros(2, 2)}
    torch.save({"epoch": 3, "pytorch-lightning_version": "2.5", "state_dict": state, "loops": {}}, tmp_path / "last.ckpt")
    assert_same_weights(create_model("unet:resnet18", ["a", "b"], str(tmp_path / "last.ckpt")), model)


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"model": s}, lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}}]
)
def test_wrapped_state_dicts(wrap: Any, tmp_path: Path) -> None:
    model = create_model("simple_conv_net", weights="none")
    torch.save(wrap(model.network.state_dict()), tmp_path / "w.pth")
    assert_same_weights(create_model("simple_conv_net", weights=str(tmp_path / "w.pth")), model)


def test_the_classes_of_a_weights_file_are_taken(tmp_path: Path) -> None:
    source = create_model("two_layer_net", ["background", "cat", "rocket"])
    save_model(tmp_path / "m.safetensors", source)
    model = create_model("two_layer_net", weights=str(tmp_path / "m.safetensors"))
    assert model.class_names == ("background", "cat", "rocket")
    assert_same_weights(model, source)


def test_weights_of_unknown_classes_are_refused(tmp_path: Path) -> None:
    """They gave masks of random classes."""
    source = create_model("simple_conv_net", ["a", "b", "c", "d"])
    torch.save(source.network.state_dict(), tmp_path / "four.pth")
    with pytest.raises(
        ModelError, match=r"four\.pth has 4 classes but not their names, and simple_conv_net has VOC's 21"
    ) as caught:
        create_model("simple_conv_net", weights=str(tmp_path / "four.pth"))
    assert "\n" not in str(caught.value)
    assert_same_weights(create_model("simple_conv_net", ["a", "b", "c", "d"], str(tmp_path / "four.pth")), source)
    transferred = create_model("simple_conv_net", voc.CLASSES, str(tmp_path / "four.pth"))  # to be trained for them
    assert torch.equal(transferred.network.conv1.weight, source.network.conv1.weight)


def test_weights_of_another_architecture(tmp_path: Path) -> None:
    torch.save(create_model("simple_conv_net").network.state_dict(), tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"w\.pth does not fit two_layer_net: .*"):
        create_model("two_layer_net", weights=str(tmp_path / "w.pth"))


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    state = create_model("two_layer_net").network.state_dict()
    for value, problem in (
        (float("nan"), "w.pth is damaged: affine2.bias has values that are not finite"),
        (float("inf"), "w.pth is damaged: affine2.bias has values that are not finite"),
        (True, "w.pth does not fit two_layer_net: affine2.bias is torch.bool, not torch.float32"),
        (1, "w.pth does not fit two_layer_net: affine2.bias is torch.int64, not torch.float32"),
    ):
        torch.save(state | {"affine2.bias": torch.full((21,), value)}, tmp_path / "w.pth")
        with pytest.raises(ModelError, match=problem):
            create_model("two_layer_net", weights=str(tmp_path / "w.pth"))


def test_a_file_of_the_wrong_weights_takes_no_memory_for_a_large_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """110 kB that name a network of a billion weights took its memory first."""
    from vocseg.models.zoo.smp import SmpFamily

    devices = []
    build = SmpFamily.build

    def recorded(*arguments: Any) -> SegmentationModel:
        model = build(*arguments)
        devices.append(model.mean.device.type)
        return model

    monkeypatch.setattr(SmpFamily, "build", recorded)
    small = create_model("two_layer_net", ["a", "b"])
    save_model(tmp_path / "m.safetensors", small, replace(small.info, architecture="unet:resnet18"))
    with pytest.raises(ModelError, match=r"m\.safetensors does not fit unet:resnet18: it has no encoder\.conv1\.weight"):
        create_model(str(tmp_path / "m.safetensors"))
    assert devices == ["meta"]


@pytest.mark.parametrize("name", ["two_layer_net", "unet:resnet18", "deeplabv3_mobilenet_v3_large"])
def test_rows_of_classes_with_the_same_name_are_kept(name: str, tmp_path: Path) -> None:
    source = create_model(name, ["background", "cat", "dog"], "none")
    save_model(tmp_path / "m.safetensors", source)
    target = create_model(str(tmp_path / "m.safetensors"), ["dog", "tram", "background", "bus"])
    old, new = source.network.state_dict(), target.network.state_dict()
    assert target.info.classes == ("dog", "tram", "background", "bus")
    heads = 0
    for key, value in new.items():
        if key.rsplit(".", 1)[0] in target.class_layers:
            heads += 1
            assert torch.equal(value[0], old[key][2])
            assert torch.equal(value[2], old[key][0])
            if key.endswith("weight"):
                assert not any(torch.equal(value[row], old[key][other]) for row in (1, 3) for other in range(3))
        else:
            assert torch.equal(value, old[key])
    assert heads == 2 * len(target.class_layers)


def test_same_number_of_other_classes_is_no_match(tmp_path: Path) -> None:
    source = create_model("two_layer_net", ["a", "b"])
    save_model(tmp_path / "m.safetensors", source)
    target = create_model("two_layer_net", ["b", "a"], str(tmp_path / "m.safetensors"))
    assert torch.equal(target.network.affine2.weight[0], source.network.affine2.weight[1])


def test_auxiliary_head_may_be_missing(tmp_path: Path) -> None:
    source = create_model("deeplabv3_mobilenet_v3_large", weights="none").network.state_dict()
    torch.save({key: value for key, value in source.items() if not key.startswith("aux")}, tmp_path / "w.pth")
    network = create_model("deeplabv3_mobilenet_v3_large", weights=str(tmp_path / "w.pth")).network
    assert torch.equal(network.classifier[4].weight, source["classifier.4.weight"])
