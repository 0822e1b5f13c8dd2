from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vocseg
from vocseg.data.samples import FOLDER

PHOTOGRAPHS = FOLDER / "JPEGImages"


@pytest.fixture(scope="module")
def segment() -> vocseg.Segmenter:
    return vocseg.Segmenter("two_layer_net", device="cpu")


def test_masks_overlays_and_json(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    result = vocseg.predict(PHOTOGRAPHS, tmp_path / "out", model=segment, json=tmp_path / "p.json")
    assert [row.name for row in result.images] == ["astronaut.jpg", "camera.jpg", "chelsea.jpg", "rocket.jpg"]
    for row in result.images:
        one = segment(row.image)
        assert row.areas == one.areas()
        with Image.open(row.mask) as mask:
            assert np.array_equal(np.array(mask), one.mask.numpy())
        assert row.overlay is not None
        with Image.open(row.overlay) as overlay:
            assert overlay.size == one.overlay().size
    assert json.loads((tmp_path / "p.json").read_text()) == result.to_dict()
    assert result.to_dict()["images"] == 4
    assert list(result.to_dict()["predictions"][0]) == ["image", "mask", "seconds", "areas", "overlay"]
    result.check()


def test_one_file_named_twice_beside_a_bad_one(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("text")
    files = [PHOTOGRAPHS / "camera.jpg", bad, PHOTOGRAPHS / "camera.jpg", PHOTOGRAPHS / "rocket.jpg"]
    result = vocseg.predict(files, tmp_path / "out", model=segment, overlay=False)
    assert [row.mask.name for row in result.images] == ["camera.jpg.png", "camera-2.png", "rocket.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["camera-2.png", "camera.jpg.png", "rocket.png"]
    assert list(result.errors) == [bad]
    with pytest.raises(vocseg.DataError, match=r"1 of 4 images skipped: cannot decode image .*bad\.jpg"):
        result.check()
    with pytest.raises(vocseg.DataError, match=r"^cannot decode image .*bad\.jpg"):
        vocseg.predict(bad, tmp_path / "out", model=segment).check()


def test_inputs_and_ground_truth_are_never_replaced(segment: vocseg.Segmenter, synth: Path, tmp_path: Path) -> None:
    image = min((synth / "JPEGImages").iterdir())
    for out in (synth / "SegmentationClass", synth / "JPEGImages"):
        with pytest.raises(vocseg.OutputError, match="cannot write"):
            vocseg.predict(image, out, model=segment)
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    with pytest.raises(vocseg.OutputError, match="would replace"):
        vocseg.predict(tmp_path / "a.png", tmp_path, model=segment)


def test_untrained_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(vocseg.ModelError, match=r"unet:resnet18 has no pretrained segmentation weights"):
        vocseg.predict(PHOTOGRAPHS, tmp_path, model="unet:resnet18")
    assert not any(tmp_path.iterdir())
