from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from vocseg.data.dataset import SplitDataset
from vocseg.data.layout import VocFolder
from vocseg.errors import DataError, ModelError
from vocseg.evaluation.evaluate import evaluate_split as evaluate
from vocseg.evaluation.score import score_folder
from vocseg.inference.segmenter import Segmenter
from vocseg.metrics import ConfusionMatrix
from vocseg.models import create_model


@pytest.fixture
def segmenter(val_set: SplitDataset) -> Segmenter:
    return Segmenter(create_model("simple_conv_net", val_set.classes), device="cpu", exact=True)


def test_against_a_plain_loop(segmenter: Segmenter, val_set: SplitDataset) -> None:
    result = evaluate(segmenter, val_set)
    matrix, losses = ConfusionMatrix(val_set.classes), []
    for index in range(len(val_set)):
        image, mask, *_ = val_set[index]
        logits = segmenter.network(image[None])["out"].detach()
        matrix.update(logits.argmax(1)[0], mask)
        target = mask[None].long()
        losses.append(cross_entropy(logits.double(), target, ignore_index=255, reduction="none")[target != 255])
    assert result.scores == matrix.scores()
    assert result.loss == pytest.approx(float(torch.cat(losses).mean()), rel=1e-5)
    assert (result.images, result.split) == (4, "val")


def test_saved_masks_score_the_same(segmenter: Segmenter, val_set: SplitDataset, tmp_path: Path) -> None:
    result = evaluate(segmenter, val_set, save_masks=tmp_path)
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(val_set.names)
    assert score_folder(tmp_path, val_set.folder, "val").scores == result.scores


def test_protocol_resizes_the_image_and_scores_at_its_own_size(val_set: SplitDataset) -> None:
    from dataclasses import replace

    from vocseg.data.transforms.geometry import resize_image

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
    assert evaluate(segmenter, val_set).scores.classes_scored > 0


def test_other_classes_are_refused(val_set: SplitDataset) -> None:
    with pytest.raises(
        ModelError, match=r"model two_layer_net has 21 classes, .* has 6; the first to differ: 'aeroplane' against 'disc'"
    ):
        evaluate(Segmenter("two_layer_net", device="cpu"), val_set)


@pytest.mark.parametrize("exact", [False, True])
def test_a_model_in_training_is_copied_and_scored_in_eval_mode(val_set: SplitDataset, exact: bool) -> None:
    model = create_model("deeplabv3_mobilenet_v3_large", val_set.classes, "none").train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    segmenter = Segmenter(model, device="cpu", precision="float32", exact=exact)
    first = evaluate(segmenter, val_set).scores
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert evaluate(segmenter, val_set).scores == first


def test_score_folder_errors(segmenter: Segmenter, val_set: SplitDataset, tmp_path: Path) -> None:
    from vocseg import draw

    folder: VocFolder = val_set.folder
    with pytest.raises(DataError, match=r"no folder of masks .*none"):
        score_folder(tmp_path / "none", folder, "val")
    evaluate(segmenter, val_set, save_masks=tmp_path)
    victim = tmp_path / f"{val_set.names[2]}.png"
    draw.save_mask(torch.zeros(3, 4, dtype=torch.uint8), victim)
    with pytest.raises(DataError, match=rf"mask {victim} is 3x4, its truth .* \d+x\d+"):
        score_folder(tmp_path, folder, "val")
    draw.save_mask(torch.full_like(val_set[2].mask, 6), victim)
    with pytest.raises(DataError, match=rf"mask {victim}: predicted value 6 is outside the classes 0\.\.5"):
        score_folder(tmp_path, folder, "val")
    victim.unlink()
    with pytest.raises(DataError, match=rf"has no mask for 1 of the 4 images of val; the first: {victim.name}"):
        score_folder(tmp_path, folder, "val")


@pytest.mark.real_voc
def test_truth_scored_against_itself_is_perfect(real_voc: Path) -> None:
    folder = VocFolder.find(real_voc)
    # the truth has void, which no prediction may hold
    with pytest.raises(DataError, match="predicted value 255 is outside the classes"):
        score_folder(folder.root / "SegmentationClass", folder, "val_2007")
    matrix = ConfusionMatrix(folder.classes)
    dataset = SplitDataset(folder, "val_2007")
    for index in range(len(dataset)):
        mask = dataset[index].mask
        matrix.update(mask.masked_fill(mask == 255, 0), mask)
    scores = matrix.scores()
    assert (scores.miou, scores.pixel_accuracy, scores.classes_scored) == (1.0, 1.0, 21)
