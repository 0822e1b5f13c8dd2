from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision.transforms import v2

import vocseg
from vocseg.data.dataset import SplitDataset
from vocseg.data.transforms.geometry import resize_image
from vocseg.errors import DataError, ModelError, OutputError
from vocseg.evaluation.evaluate import evaluate_split
from vocseg.evaluation.table import evaluation_report
from vocseg.inference.segmenter import Segmenter
from vocseg.metrics import ConfusionMatrix
from vocseg.models import create_model, save_model


@pytest.fixture
def segmenter(val_set: SplitDataset) -> Segmenter:
    return Segmenter(create_model("simple_conv_net", val_set.classes), device="cpu", exact=True)


def plain(network: nn.Module, dataset: Any) -> tuple[ConfusionMatrix, float]:
    """The matrix and the loss, image by image."""
    matrix, losses = ConfusionMatrix(dataset.classes), []
    for index in range(len(dataset)):
        image, mask, *_ = dataset[index]
        logits = network(image[None])["out"].detach()
        matrix.update(logits.argmax(1)[0], mask)
        target = mask[None].long()
        losses.append(cross_entropy(logits.double(), target, ignore_index=255, reduction="none")[target != 255])
    return matrix, float(torch.cat(losses).mean())


def test_against_a_plain_loop(segmenter: Segmenter, val_set: SplitDataset) -> None:
    result = vocseg.evaluate(segmenter, val_set)
    matrix, loss = plain(segmenter.network, val_set)  # type: ignore[arg-type]
    assert result.scores == matrix.compute()
    assert result.loss == pytest.approx(loss, rel=1e-5)
    assert (result.images, result.split) == (4, "val")
    assert result.miou == result.scores.miou
    assert (result.pixel_accuracy, result.mean_accuracy) == (result.scores.pixel_accuracy, result.scores.mean_accuracy)
    assert list(result.per_class) == list(val_set.classes)
    assert tuple(result.per_class.values()) == result.scores.per_class


@pytest.mark.parametrize("batch_size", [2, 64])
def test_batches_change_nothing(segmenter: Segmenter, val_set: SplitDataset, tmp_path: Path, batch_size: int) -> None:
    one = vocseg.evaluate(segmenter, val_set, save_masks=tmp_path / "a")
    many = vocseg.evaluate(segmenter, val_set, batch_size=batch_size, workers=2, save_masks=tmp_path / "b")
    assert many.scores == one.scores
    assert many.loss == pytest.approx(one.loss, rel=1e-6)
    for name in val_set.names:
        assert (tmp_path / "a" / f"{name}.png").read_bytes() == (tmp_path / "b" / f"{name}.png").read_bytes()


def test_a_folder_and_a_file_from_start_to_end(val_set: SplitDataset, tmp_path: Path) -> None:
    model = create_model("simple_conv_net", val_set.classes)
    save_model(tmp_path / "m.safetensors", model)
    options = {"device": "cpu", "precision": "float32"}
    data = val_set.folder.root
    result = vocseg.evaluate(tmp_path / "m.safetensors", data, save_masks=tmp_path / "masks", json=tmp_path / "s.json", **options)
    assert vocseg.evaluate(model, str(data), "val", **options).scores == result.scores
    assert vocseg.evaluate(model.network, data, **options).scores == result.scores  # a plain network, with the data's classes
    assert vocseg.score(tmp_path / "masks", data).scores == result.scores
    written = json.loads((tmp_path / "s.json").read_text())
    assert written == result.to_dict()
    assert {"miou", "pixel_accuracy", "mean_accuracy", "loss", "per_class", "images", "split"} <= set(written)
    assert [written[key] for key in ("model", "precision", "data")] == ["m.safetensors", "float32", data.name]
    result.save(tmp_path / "run")
    assert (tmp_path / "run" / "scores.json").read_text() == (tmp_path / "s.json").read_text()


class Pairs:
    """A data set as torchvision's: images and masks of Pillow, or tensors."""

    def __init__(self, dataset: SplitDataset, pillow: bool) -> None:
        self.dataset, self.classes, self.pillow = dataset, dataset.classes, pillow

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image, mask, *_ = self.dataset[index]
        if self.pillow:
            return Image.fromarray(image.permute(1, 2, 0).numpy()), Image.fromarray(mask.numpy(), mode="L")
        return image, mask[None].long()


@pytest.mark.parametrize("pillow", [True, False])
def test_data_sets_of_pairs(segmenter: Segmenter, val_set: SplitDataset, pillow: bool, tmp_path: Path) -> None:
    result = vocseg.evaluate(segmenter, Pairs(val_set, pillow), save_masks=tmp_path)
    assert result.scores == vocseg.evaluate(segmenter, val_set).scores
    assert (result.images, result.split, result.about["data"]) == (4, "Pairs", "Pairs")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.png", "1.png", "2.png", "3.png"]


def test_the_public_data_set(segmenter: Segmenter, val_set: SplitDataset, tmp_path: Path) -> None:
    dataset, root = vocseg.VOCDataset(val_set.folder.root, "val"), val_set.folder.root
    result = vocseg.evaluate(segmenter, dataset, save_masks=tmp_path)
    assert result.scores == vocseg.evaluate(segmenter, val_set).scores
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(val_set.names)
    with pytest.raises(OutputError, match="cannot write"):
        vocseg.evaluate(segmenter, dataset, json=min((root / "JPEGImages").iterdir()))
    flipped = vocseg.VOCDataset(root, "val", transforms=v2.RandomHorizontalFlip(1))
    assert vocseg.evaluate(segmenter, flipped).scores != result.scores


def test_pairs_that_cannot_be_scored(segmenter: Segmenter) -> None:
    image = torch.zeros(3, 4, 5, dtype=torch.uint8)
    for mask, message in (
        (torch.zeros(4, 5), r"mask 0 of list is \(4, 5\) torch.float32, not H x W integers"),
        (torch.full((4, 5), 300), "mask 0 of list holds values from 300 to 300"),
        (torch.zeros(5, 4, dtype=torch.uint8), "image 0 of list is 4x5 but its mask is 5x4"),
        (torch.full((4, 5), 6), r"mask 0 of list holds label 6 \(20 pixels outside 0\.\.5 and 255\)"),
    ):
        with pytest.raises(vocseg.InputError, match=message):
            vocseg.evaluate(segmenter, [(image, mask)])


def test_the_processes_shares_add_up(segmenter: Segmenter, val_set: SplitDataset) -> None:
    """Each process scores its images; ``gather`` adds the sums of all."""
    sums: list[list[Tensor]] = []
    for rank in range(3):
        own: list[Tensor] = []
        places = range(rank, 4, 3)
        evaluate_split(segmenter, val_set, places=places, gather=lambda tensor, own=own: own.append(tensor.clone()) or tensor)
        sums.append(own)
    totals = iter([sum(parts) for parts in zip(*sums, strict=True)])
    result = evaluate_split(segmenter, val_set, places=[0, 3], gather=lambda tensor: next(totals))
    whole = evaluate_split(segmenter, val_set)
    assert result.scores == whole.scores
    assert result.loss == pytest.approx(whole.loss, rel=1e-6)
    assert result.images == 4


def test_ground_truth_and_inputs_are_never_replaced(val_set: SplitDataset, tmp_path: Path) -> None:
    root, model = val_set.folder.root, tmp_path / "m.safetensors"
    save_model(model, create_model("simple_conv_net", val_set.classes))
    (tmp_path / "link").symlink_to(root / "SegmentationClass")
    before = {path: path.read_bytes() for path in (*root.rglob("*.*"), model) if path.is_file()}
    for data in (root, val_set):
        for folder in (root / "SegmentationClass", root / "JPEGImages", tmp_path / "link"):
            with pytest.raises(OutputError, match="cannot write"):
                vocseg.evaluate(model, data, device="cpu", save_masks=folder)
        for file in (model, min((root / "JPEGImages").iterdir())):
            with pytest.raises(OutputError, match="cannot write"):
                vocseg.evaluate(model, data, device="cpu", json=file)
    with pytest.raises(OutputError, match="cannot write"):
        vocseg.evaluate(model, Pairs(val_set, True), device="cpu", save_masks=root / "SegmentationClass")
    assert {path: path.read_bytes() for path in before} == before


def test_protocol_resizes_the_image_and_scores_at_its_own_size(val_set: SplitDataset) -> None:
    model = create_model("simple_conv_net", val_set.classes)
    model.info = replace(model.info, short_side=20)
    segmenter = Segmenter(model, device="cpu", precision="float32")
    image = val_set[0].image
    height, width = image.shape[1:]
    assert segmenter.logits(image).shape == (1, 6, height, width)
    small = resize_image(image, (20, round(width * 20 / height)) if height <= width else (round(height * 20 / width), 20))
    with torch.no_grad():
        small_logits = model.eval()(small[None])["out"]
    want = torch.nn.functional.interpolate(small_logits, size=(height, width), mode="bilinear")
    torch.testing.assert_close(segmenter.logits(image), want, rtol=1e-4, atol=1e-5)
    pixels = sum(row.true_pixels for row in vocseg.evaluate(segmenter, val_set).scores.per_class)
    assert pixels == sum(int((val_set[index].mask != 255).sum()) for index in range(len(val_set)))


def test_other_classes_are_refused(val_set: SplitDataset) -> None:
    message = r"model two_layer_net has 21 classes, .* has 6; the first to differ: 'aeroplane' against 'disc'"
    segmenter = Segmenter("two_layer_net", device="cpu")
    for use in (vocseg.evaluate, evaluate_split):
        with pytest.raises(ModelError, match=message):
            use(segmenter, val_set)
    with pytest.raises(ModelError, match="unet:resnet18 has no pretrained segmentation weights"):
        vocseg.evaluate("unet:resnet18", val_set)
    with pytest.raises(DataError, match="does not exist"):
        vocseg.evaluate(segmenter, "nowhere")


@pytest.mark.parametrize("exact", [False, True])
def test_a_model_in_training_is_copied_and_scored_in_eval_mode(val_set: SplitDataset, exact: bool) -> None:
    model = create_model("deeplabv3_mobilenet_v3_large", val_set.classes, "none").train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    segmenter = Segmenter(model, device="cpu", precision="float32", exact=exact)
    first = vocseg.evaluate(segmenter, val_set).scores
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert vocseg.evaluate(segmenter, val_set).scores == first


def test_classes_that_model_and_data_share(val_set: SplitDataset, tmp_path: Path) -> None:
    """A model with more classes, in another order and spelling, scores as one that has only the data's."""
    torch.manual_seed(0)
    own = create_model("simple_conv_net", val_set.classes).eval()
    others = ["tree", *(name.upper() for name in reversed(val_set.classes)), "road"]
    more = create_model("simple_conv_net", others).eval()
    state = own.network.state_dict()
    for name in own.class_layers:
        for key in (f"{name}.weight", f"{name}.bias"):
            rows = state[key].flip(0)
            # The other classes always win, unless they may not be chosen.
            state[key] = torch.cat([rows[:1] * 0 + 9, rows, rows[:1] * 0 + 9])
    more.network.load_state_dict(state)
    with pytest.raises(ModelError, match=r"match_classes \(--match-classes\) scores the 6 that both name"):
        vocseg.evaluate(more, val_set)
    want = vocseg.evaluate(own, val_set, precision="float32", save_masks=tmp_path / "own")
    got = vocseg.evaluate(more, val_set, precision="float32", match_classes=True, save_masks=tmp_path / "more")
    assert got.scores == want.scores
    assert got.loss == pytest.approx(want.loss, rel=1e-5)
    assert got.about["not_scored"] == ""
    assert vocseg.score(tmp_path / "more", val_set).scores == want.scores
    assert vocseg.evaluate(own, val_set, precision="float32", match_classes=True).scores == want.scores


def test_classes_of_the_data_that_the_model_lacks_are_not_scored(val_set: SplitDataset) -> None:
    network = torch.nn.Conv2d(3, 3, 1)
    segmenter = Segmenter(network, classes=["__background__", val_set.classes[3], "zebra"], device="cpu")
    result = vocseg.evaluate(segmenter, val_set, match_classes=True)
    assert list(result.per_class) == [val_set.classes[0], val_set.classes[3]]
    pixels = torch.stack([val_set[index].mask.flatten().long().bincount(minlength=256) for index in range(4)]).sum(0)
    assert [row.true_pixels for row in result.scores.per_class] == [int(pixels[0]), int(pixels[3])]
    assert result.about["not_scored"] == ", ".join(name for name in val_set.classes[1:] if name != val_set.classes[3])
    text = io.StringIO()
    Console(file=text, width=200).print(evaluation_report(result, "t"))
    assert f"not predicted by the model, so not scored: {result.about['not_scored']}" in text.getvalue()
    stranger = Segmenter(network, classes=["a", "b", "zebra"], device="cpu")
    with pytest.raises(ModelError, match=r"has 3 classes, .* has 6; the first to differ"):
        vocseg.evaluate(stranger, val_set, match_classes=True)
