from __future__ import annotations

import pytest
import torch
from PIL import Image

import vocseg
from vocseg.data.samples import FOLDER as SAMPLES
from vocseg.errors import ModelError, SettingError


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
    assert repr(result).startswith("Segmentation(451 x 300 pixels by two_layer_net: ")
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
    with pytest.raises(ModelError, match="weights are for a model's name or file"):
        vocseg.Segmenter(network, classes=["sky", "ground"], weights="coco")


@pytest.mark.parametrize("exact", [False, True])
def test_a_network_is_copied(exact: bool) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.BatchNorm2d(2)).train()
    segment = vocseg.Segmenter(network, classes="ab", device="cpu", exact=exact)
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
