"""Test-time augmentation, held against torch's own interpolation and softmax."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

import vocseg
from vocseg.data.samples import FOLDER
from vocseg.data.transforms.geometry import resize_image
from vocseg.inference.augment import SCALES, averaged_logits
from vocseg.ops.low_res_logits import LowResLogits

PHOTO = FOLDER / "JPEGImages" / "chelsea.jpg"


def plain_mean(segment: vocseg.Segmenter, image: Tensor, scales: tuple[float, ...]) -> Tensor:
    height, width = image.shape[1:]
    found = []
    for scale in scales:
        view = resize_image(image[None], (round(height * scale), round(width * scale)))[0]
        for mirrored in (False, True):
            logits = segment.logits(view.flip(-1) if mirrored else view).double()
            logits = torch.nn.functional.interpolate(logits, size=(height, width), mode="bilinear")
            found.append((logits.flip(-1) if mirrored else logits).softmax(1))
    return torch.stack(found).mean(0)[0]


@pytest.mark.parametrize("tta", ["flip", "multiscale"])
def test_probabilities_are_the_mean_of_the_views(tta: Literal["flip", "multiscale"]) -> None:
    options = {"device": "cpu", "precision": "float32", "engine": "torch"}
    image = torch.randint(0, 256, (3, 61, 80), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = plain_mean(vocseg.Segmenter(**options), image, SCALES[tta])  # type: ignore[arg-type]
    result = vocseg.Segmenter(**options, tta=tta)(image)  # type: ignore[arg-type]
    assert torch.allclose(result.probabilities().double(), expected, atol=2e-4)
    agreeing = (result.mask == expected.argmax(0)).double().mean()
    assert agreeing > 0.999


def test_mirror_images_get_mirrored_masks() -> None:
    """The views of a mirror image are those of the image, in another order."""
    segment = vocseg.Segmenter("two_layer_net", weights="none", device="cpu", precision="float32", tta="flip")
    image = torch.randint(0, 256, (3, 40, 56), dtype=torch.uint8)
    assert torch.equal(segment(image.flip(-1)).mask.flip(-1), segment(image).mask)


def test_classes_of_probability_zero_keep_finite_logits() -> None:
    logits = torch.tensor([1e4, 0.0, -1e4]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    mean = averaged_logits(lambda _: LowResLogits(logits), torch.zeros(1, 3, 4, 4, dtype=torch.uint8), "flip").full()
    assert torch.isfinite(mean).all()
    assert (mean.argmax(1) == 0).all()


def test_every_function_takes_it(tmp_path: object) -> None:
    plain = vocseg.evaluate("vocseg-s", FOLDER, "samples", device="cpu")
    mean = vocseg.evaluate("vocseg-s", FOLDER, "samples", device="cpu", tta="flip")
    assert "tta" not in plain.about
    assert mean.about["tta"].startswith("test-time augmentation flip: 2 passes")
    assert mean.loss != plain.loss
    row = vocseg.predict(PHOTO, str(tmp_path), device="cpu", overlay=False, tta="flip").images[0]
    expected = vocseg.Segmenter(device="cpu", tta="flip")(PHOTO).mask
    from PIL import Image

    assert np.array_equal(np.array(Image.open(row.mask)), expected)
    with pytest.raises(vocseg.SettingError, match="tta must be 'none' or 'flip' or 'multiscale'"):
        vocseg.Segmenter(tta="all")  # type: ignore[arg-type]
