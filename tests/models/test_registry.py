from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from vocseg import voc
from vocseg.errors import ModelError
from vocseg.models import create_model, save_model
from vocseg.models.checkpoint import read_weights_file
from vocseg.models.complexity import costs
from vocseg.utils.text import parse_size


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
    with pytest.raises(ModelError, match=r"^ImageNet weights of encoder resnet18 not to be had from .*--weights none") as caught:
        create_model("unet:resnet18")
    assert "\n" not in str(caught.value)


def _refuse(*_: Any) -> None:
    raise OSError("no network")


def test_files_that_are_no_models(tmp_path: Path) -> None:
    text = tmp_path / "text.safetensors"
    text.write_text("no model")
    with pytest.raises(ModelError, match=r"text\.safetensors is not a model file"):
        create_model(str(text))
    bare = tmp_path / "bare.safetensors"
    save_file({"a": torch.zeros(2)}, bare)
    with pytest.raises(ModelError, match=r"bare\.safetensors holds weights but no vocseg metadata; use --model NAME --weights"):
        create_model(str(bare))
    damaged = tmp_path / "damaged.safetensors"
    save_file({"a": torch.zeros(2)}, damaged, metadata={"vocseg": '{"architecture": "two_layer_net"}'})
    with pytest.raises(ModelError, match=r"damaged\.safetensors has damaged vocseg metadata"):
        create_model(str(damaged))
    model = create_model("two_layer_net", ["a", "b"])
    save_model(tmp_path / "m.safetensors", model)
    content = (tmp_path / "m.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[:-100])
    with pytest.raises(ModelError, match=r"cut\.safetensors is not a model file"):
        create_model(str(tmp_path / "cut.safetensors"))


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"model": s}, lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}}]
)
def test_foreign_weights(wrap: Any, tmp_path: Path) -> None:
    model = create_model("simple_conv_net", weights="none")
    torch.save(wrap(model.network.state_dict()), tmp_path / "w.pth")
    again = create_model("simple_conv_net", weights=str(tmp_path / "w.pth"))
    assert all(
        torch.equal(a, b) for a, b in zip(model.network.state_dict().values(), again.network.state_dict().values(), strict=True)
    )


class Evil:
    def __reduce__(self) -> Any:
        return print, ("executed",)


def test_foreign_pickles_are_not_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {}, "evil": Evil()}, tmp_path / "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Evil()))
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("evil", "plain"):
        with pytest.raises(ModelError, match=rf"{name}\.pth is not a weights file that can be loaded safely"):
            read_weights_file(tmp_path / f"{name}.pth")
    with pytest.raises(ModelError, match=r"list\.pth holds no state dict"):
        read_weights_file(tmp_path / "list.pth")
    assert "executed" not in capsys.readouterr().out


def test_weights_of_another_architecture(tmp_path: Path) -> None:
    torch.save(create_model("simple_conv_net").network.state_dict(), tmp_path / "w.pth")
    with pytest.raises(ModelError, match=r"w\.pth does not fit two_layer_net: .*"):
        create_model("two_layer_net", weights=str(tmp_path / "w.pth"))


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


def test_costs_against_counting_by_hand() -> None:
    parameters, multiply_adds = costs("two_layer_net", 10, 20)
    patch = 3 * 9 * 9
    assert parameters == (patch + 1) * 100 + (100 + 1) * 21
    assert multiply_adds == 10 * 20 * (patch * 100 + 100 * 21)


def test_costs_against_published_figures() -> None:
    from torchvision.models import get_model_weights

    ops = get_model_weights("lraspp_mobilenet_v3_large").DEFAULT.meta["_ops"]  # 10^9 multiply-adds at 520x520
    assert costs("lraspp_mobilenet_v3_large", 520, 520)[1] / 1e9 == pytest.approx(ops, rel=0.01)


@pytest.mark.parametrize("text", ["375", "0x5", "axb", "375x", "-1x5", "375x500x3"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(Exception, match=f"size '{text}' is not HEIGHTxWIDTH"):
        parse_size(text)


def test_default_classes_are_vocs() -> None:
    assert create_model("two_layer_net").info.classes == voc.CLASSES
    assert create_model("two_layer_net").info.palette == voc.PALETTE[:21]
