from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import vocseg
from vocseg.data.samples import FOLDER as SAMPLES
from vocseg.errors import DataError, ModelError, SettingError
from vocseg.models import ModelInfo, create_model, save_model


@pytest.fixture(scope="module")
def segment() -> vocseg.Segmenter:
    torch.manual_seed(0)
    return vocseg.Segmenter("two_layer_net", device="cpu")


def test_file_pillow_array_and_tensor_agree(segment: vocseg.Segmenter) -> None:
    path = SAMPLES / "JPEGImages" / "chelsea.jpg"
    result = segment(path)
    assert result.mask.shape == (300, 451)
    assert result.mask.dtype == torch.uint8
    assert torch.equal(result.mask, segment(str(path)).mask)
    assert torch.equal(result.mask, segment(result.image).mask)
    assert torch.equal(result.mask, segment(result.image.permute(1, 2, 0).numpy()).mask)
    assert torch.equal(result.mask, segment.logits(path)[0].argmax(0).to(torch.uint8))
    assert repr(result).startswith("Segmentation(300x451 pixels by two_layer_net: ")
    with Image.open(path) as image:
        assert (segment(image).mask == result.mask).float().mean() > 0.99


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (2000, 3)])
def test_odd_sizes(segment: vocseg.Segmenter, size: tuple[int, int]) -> None:
    result = segment(torch.zeros(3, *size, dtype=torch.uint8))
    assert result.mask.shape == size
    assert result.overlay().height >= size[0]


def test_missing_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingError, match=r"this machine has no device 'cuda'; it has .*cpu"):
        vocseg.Segmenter("two_layer_net", device="cuda")


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_engines_of_the_cpu_refuse_a_gpu(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(ModelError, match=f"engine {engine} runs on the CPU only, not on cuda"):
        vocseg.Segmenter("two_layer_net", device="cuda", engine=engine)  # type: ignore[arg-type]


def test_any_network_with_classes() -> None:
    network = torch.nn.Conv2d(3, 2, 1)
    segment = vocseg.Segmenter(network, classes=["sky", "ground"], device="cpu", precision="float32")
    image = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8)
    mean, std = (torch.tensor(row).view(3, 1, 1) for row in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        want = network(((image / 255 - mean) / std)[None])
    torch.testing.assert_close(segment.logits(image), want, rtol=1e-4, atol=1e-4)
    assert segment.info.classes == ("sky", "ground")
    assert set(segment(image).areas()) <= {"sky", "ground"}
    with pytest.raises(ModelError, match="network Conv2d does not say what it predicts"):
        vocseg.Segmenter(network)
    with pytest.raises(ModelError, match="no weights file coco"):
        vocseg.Segmenter(network, classes=["sky", "ground"], weights="coco")


@pytest.mark.parametrize("exact", [False, True])
def test_a_network_is_copied(exact: bool) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.BatchNorm2d(2)).train()
    segment = vocseg.Segmenter(network, classes=["a", "b"], device="cpu", exact=exact)
    image = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8)
    before = segment.logits(image)
    torch.nn.init.zeros_(network[0].weight)
    assert network.training
    assert torch.equal(segment.logits(image), before)


def test_samples_are_in_voc_layout() -> None:
    from vocseg.data.dataset import SplitDataset
    from vocseg.data.layout import VocFolder

    dataset = SplitDataset(VocFolder.find(SAMPLES), "samples")
    labels = {dataset[index].name: set(dataset[index].mask.unique().tolist()) for index in range(len(dataset))}
    assert labels == {"astronaut": {0, 15, 255}, "camera": {0, 15, 255}, "chelsea": {0, 8, 255}, "rocket": {0}}
    notes = (SAMPLES / "README.md").read_text()
    assert all(f"{name}.jpg" in notes for name in labels)


@given(st.integers(1, 20_000), st.integers(1, 20_000), st.integers(1, 3000))
def test_the_network_sees_no_image_larger_than_the_limit(height: int, width: int, limit: int) -> None:
    segment = vocseg.Segmenter.__new__(vocseg.Segmenter)
    segment.info, segment.max_short_side = ModelInfo("net", ("a", "b")), limit
    size = segment.network_size(height, width)
    assert min(size) <= max(1, limit)
    assert size[0] * size[1] <= 16.5 * limit**2 + max(size)
    assert max(size) <= 16 * limit
    if min(height, width) <= limit and height * width <= 16 * limit**2 and max(height, width) <= 16 * limit:
        assert size == (height, width)
    elif min(size) > 30:
        assert size[0] / size[1] == pytest.approx(height / width, rel=0.02)
    segment.max_short_side = 0
    assert segment.network_size(height, width) == (height, width)


def test_an_enlarged_image_has_the_mask_of_the_small_one() -> None:
    path = SAMPLES / "JPEGImages" / "chelsea.jpg"
    with Image.open(path) as small:
        large = small.resize((4 * small.width, 4 * small.height), Image.Resampling.BICUBIC)
    segment = vocseg.Segmenter(device="cpu")
    mask = segment(path).mask
    result, whole = segment(large), vocseg.Segmenter(device="cpu", max_short_side=0)(large)
    assert result.shrunk
    assert result.network_size == (640, 962)
    assert not whole.shrunk
    assert not segment(path).shrunk
    assert result.mask.shape == (1200, 1804)
    assert float((result.mask[2::4, 2::4] == mask).float().mean()) > 0.9
    assert result.mask.unique().numel() <= whole.mask.unique().numel()


def test_a_model_knows_the_largest_images_it_was_trained_on() -> None:
    model = create_model("two_layer_net")
    model.info = replace(model.info, max_short_side=1000)
    assert vocseg.Segmenter(model, device="cpu").network_size(2000, 3000) == (1000, 1500)
    assert vocseg.Segmenter(model, device="cpu", max_short_side=100).network_size(2000, 3000) == (100, 150)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "openvin"}, "Segmenter: engine must be 'auto' or 'torch'"),
        ({"engine": None}, "engine must be 'auto' or"),
        ({"device": 3}, "device must be a string or a device, not 3"),
        ({"precision": "int4"}, "unknown precision 'int4'"),
        ({"precision": None}, "precision must be a string or a dtype, not None"),
        ({"max_short_side": -1}, "max_short_side is -1, not a number of pixels"),
        ({"max_short_side": "big"}, "max_short_side must be an integer, not 'big'"),
    ],
)
def test_settings_of_a_wrong_kind(options: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=re.escape(message)):
        vocseg.Segmenter("two_layer_net", **{"device": "cpu"} | options)  # type: ignore[arg-type]


def test_settings_of_a_stream(segment: vocseg.Segmenter) -> None:
    for options, message in (
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": "4"}, "batch_size must be an integer, not '4'"),
        ({"on_error": "ignore"}, "on_error must be 'raise' or 'skip', not 'ignore'"),
    ):
        with pytest.raises(SettingError, match=message):
            list(segment.stream([], **options))  # type: ignore[arg-type]


def test_devices_and_precisions_of_torch() -> None:
    segment = vocseg.Segmenter("two_layer_net", device=torch.device("cpu"), precision=torch.float32)
    assert repr(segment) == "Segmenter(two_layer_net, 21 classes, float32 on cpu)"


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    ("network", "message"),
    [
        (torch.nn.Linear(3, 2), "Linear cannot segment an image of 128x128 pixels: RuntimeError: "),
        (torch.nn.Flatten(), "Flatten gives an output of shape (1, 49152), not images x classes x height x width"),
        (torch.nn.Conv2d(3, 7, 1), "Conv2d predicts 7 classes, but has 2 class names"),
        (torch.nn.Identity(), "Identity predicts 3 classes, but has 2 class names"),
        (torch.nn.LSTM(128, 2), "LSTM cannot segment an image"),
    ],
)
def test_networks_that_do_not_segment(network: torch.nn.Module, message: str, exact: bool) -> None:
    with pytest.raises(ModelError, match=re.escape(message)):
        vocseg.Segmenter(network, classes=["sky", "ground"], device="cpu", exact=exact)


def test_a_folder_is_no_image(segment: vocseg.Segmenter) -> None:
    with pytest.raises(DataError, match=r"samples is a folder; Segmenter\.stream takes folders"):
        segment(SAMPLES)


def test_every_kind_of_image_from_outside(segment: vocseg.Segmenter) -> None:
    path = SAMPLES / "JPEGImages" / "chelsea.jpg"
    want = segment(path).mask
    pixels = segment(path).image
    with open(path, "rb") as file:
        assert torch.equal(segment(file).mask, want)
    for image in (path.read_bytes(), pixels / 255, pixels.permute(1, 2, 0).numpy() / 255):
        assert torch.equal(segment(image).mask, want)
    assert [torch.equal(result.mask, want) for result in segment(list(torch.stack([pixels, pixels])))] == [True, True]


def test_classes_of_a_file_of_weights(tmp_path: Path) -> None:
    model = create_model("two_layer_net", list("abcd"))
    save_model(tmp_path / "own.safetensors", model)
    torch.save(model.network.state_dict(), tmp_path / "four.pth")
    load = partial(vocseg.Segmenter, "two_layer_net", device="cpu")
    image = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8)
    named = load(weights=str(tmp_path / "four.pth"), classes=["w", "x", "y", "z"])
    assert named.info.classes == ("w", "x", "y", "z")
    assert torch.equal(named(image).mask, load(weights=str(tmp_path / "own.safetensors"))(image).mask)
    assert load(weights=str(tmp_path / "own.safetensors"), classes=list("abcd")).info.classes == tuple("abcd")
    for file, classes, message in (
        ("four.pth", None, "four.pth has 4 classes but not their names"),
        ("four.pth", ["a", "b", "c"], "four.pth predicts 4 classes, but 3 names were passed"),
        (
            "own.safetensors",
            ["a", "b", "c", "e"],
            r"own.safetensors predicts a, b, c, ... \(4 classes\), not the classes that were passed",
        ),
    ):
        with pytest.raises(ModelError, match=message):
            load(weights=str(tmp_path / file), classes=classes)
    with pytest.raises(ModelError, match="vocseg-s names its own"):
        vocseg.Segmenter("vocseg-s", classes=["a", "b"], device="cpu")
    assert load(classes=["a", "b"]).info.classes == ("a", "b")  # random on purpose
