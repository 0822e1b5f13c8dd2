from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import vocseg
from vocseg.data.image_io import read_image
from vocseg.data.samples import FOLDER
from vocseg.inference import images
from vocseg.inference.result import Segmentation
from vocseg.ops.low_res_logits import LowResLogits

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


def test_one_file_named_twice_is_segmented_once_beside_a_bad_one(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("text")
    files = [PHOTOGRAPHS / "camera.jpg", bad, PHOTOGRAPHS / "camera.jpg", PHOTOGRAPHS / "rocket.jpg"]
    result = vocseg.predict(files, tmp_path / "out", model=segment, overlay=False)
    assert [row.mask.name for row in result.images] == ["camera.png", "rocket.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["camera.png", "rocket.png"]
    assert list(result.errors) == [bad]
    with pytest.raises(vocseg.DataError, match=r"1 of 3 images skipped: cannot decode image .*bad\.jpg"):
        result.check()
    with pytest.raises(vocseg.DataError, match=r"^cannot decode image .*bad\.jpg"):
        vocseg.predict(bad, tmp_path / "out", model=segment).check()
    assert vocseg.predict(bad, tmp_path / "none", model=segment).errors
    assert not (tmp_path / "none").exists()


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


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three small images."""
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.effect_noise((40, 30), 60).convert("RGB").save(tmp_path / "photos" / f"{number}.jpg")
    return tmp_path / "photos"


def test_predictions_are_not_segmented_again(segment: vocseg.Segmenter, photos: Path, tmp_path: Path) -> None:
    inside = photos / "made"
    for out in (inside, inside, tmp_path / "elsewhere"):  # the last time, made is no --out but a folder of images
        result = vocseg.predict(photos, out, model=segment)
        assert [row.name for row in result.images] == ["0.jpg", "1.jpg", "2.jpg"]
    assert len(list(inside.iterdir())) == 6
    assert len(vocseg.predict(str(photos / "**" / "*"), tmp_path / "o", model=segment).images) == 3
    with pytest.raises(vocseg.InputError, match="holds no images except 6 masks or overlays that vocseg wrote"):
        vocseg.predict(inside, tmp_path / "o", model=segment)
    assert len(vocseg.predict(inside / "0_overlay.jpg", tmp_path / "o", model=segment).images) == 1  # named by itself
    with pytest.raises(vocseg.OutputError, match=r"the folder .*photos.* of the images cannot be that of their masks"):
        vocseg.predict(photos, photos / "made" / "..", model=segment)


def test_masks_of_an_evaluation_are_no_images(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    vocseg.evaluate(segment, FOLDER, "samples", save_masks=tmp_path / "masks")
    with pytest.raises(vocseg.InputError, match="holds no images except 4 masks"):
        vocseg.predict(tmp_path / "masks", tmp_path / "o", model=segment)


def test_no_images(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    with pytest.raises(vocseg.InputError, match="no images to segment"):
        vocseg.predict([], tmp_path, model=segment)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "30x40 pixels: there is too little memory"),
        (MemoryError(), "there is too little memory"),
        (RuntimeError("shapes"), "30x40 pixels: shapes"),
    ],
)
def test_an_image_that_the_network_cannot_segment(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Exception, message: str
) -> None:
    segment = vocseg.Segmenter("two_layer_net", device="cpu")
    special = read_image(photos / "1.jpg")
    real = segment.low_res_logits

    def logits(images: Tensor, total: int = 1) -> LowResLogits:
        if any(torch.equal(image, special) for image in images):
            raise broken
        return real(images, total)

    monkeypatch.setattr(segment, "low_res_logits", logits)
    for batch_size in (1, 3):
        result = vocseg.predict(photos, tmp_path / "o", model=segment, batch_size=batch_size, json=tmp_path / "j.json")
        assert [row.name for row in result.images] == ["0.jpg", "2.jpg"]
        [skipped] = json.loads((tmp_path / "j.json").read_text())["skipped"]
        assert skipped["image"] == str(photos / "1.jpg")
        assert message in skipped["error"]
    with pytest.raises(vocseg.DataError, match=rf"cannot segment image .*1\.jpg, .*{message[-10:]}"):
        list(segment.stream(photos, batch_size=3))


@pytest.mark.parametrize("raised", [ValueError("of a decoder"), NotImplementedError(), MemoryError(), IndexError("list index")])
def test_any_error_of_a_reader_is_one_line(
    segment: vocseg.Segmenter, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception
) -> None:
    def read(path: Path, notes: list[str] | None = None) -> Tensor:
        if Path(path).name == "1.jpg":
            raise raised
        return read_image(path, notes)

    monkeypatch.setattr(images, "read_image", read)
    result = vocseg.predict(photos, tmp_path / "o", model=segment)
    assert len(result.images) == 2
    assert list(result.errors) == [photos / "1.jpg"]
    assert str(photos / "1.jpg") in str(result.errors[photos / "1.jpg"])


def test_an_output_whose_name_is_too_long(segment: vocseg.Segmenter, photos: Path, tmp_path: Path) -> None:
    (photos / "1.jpg").rename(photos / ("n" * 250 + ".jpg"))
    result = vocseg.predict(photos, tmp_path / "o", model=segment, json=tmp_path / "j.json")
    assert [row.name for row in result.images] == ["0.jpg", "2.jpg"]
    with pytest.raises(vocseg.DataError, match=r"1 of 3 images skipped: image .*nnn.* has no output: .*too long"):
        result.check()
    assert len(json.loads((tmp_path / "j.json").read_text())["skipped"]) == 1


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_json_says_what_was_done_before_the_end(
    segment: vocseg.Segmenter, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException
) -> None:
    real = Segmentation.save

    def save(self: Segmentation, path: Path, **options: float) -> None:
        if path.name == "2.png":
            raise raised
        real(self, path, **options)

    monkeypatch.setattr(Segmentation, "save", save)
    message = "2 of 3 images done, in .*o" if isinstance(raised, KeyboardInterrupt) else "No space left"
    with pytest.raises(type(raised), match=message):
        vocseg.predict(photos, tmp_path / "o", model=segment, json=tmp_path / "j.json")
    assert [Path(row["image"]).name for row in json.loads((tmp_path / "j.json").read_text())["predictions"]] == ["0.jpg", "1.jpg"]


def test_colors_by_name_and_opacity(segment: vocseg.Segmenter, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "colors.txt").write_text("cat 1 2 3\nbackground 9 8 7\n")
    for palette in (tmp_path / "colors.txt", {"cat": (1, 2, 3), "background": (9, 8, 7)}):
        result = vocseg.predict(photos / "0.jpg", tmp_path / "o", model=segment, palette=palette, opacity=0)
        with Image.open(result.images[0].mask) as mask:
            assert mask.getpalette()[:3] == [9, 8, 7]
            assert mask.getpalette()[24:27] == [1, 2, 3]
            assert mask.getpalette()[3:6] == [128, 0, 0]
    assert segment.info.palette[8] == (64, 0, 0)
    with pytest.raises(vocseg.InputError, match="the palette names 'catt', which the model does not predict; did you mean 'cat'"):
        vocseg.predict(photos, tmp_path / "o", model=segment, palette={"catt": (0, 0, 0)})
    with pytest.raises(vocseg.SettingError, match=r"opacity 2 must lie in 0\.\.1"):
        vocseg.predict(photos, tmp_path / "o", model=segment, opacity=2)


def test_large_images_are_named(segment: vocseg.Segmenter, photos: Path, tmp_path: Path) -> None:
    Image.new("RGB", (900, 1000)).save(photos / "1.jpg")
    result = vocseg.predict(photos, tmp_path / "o", model=segment)
    assert [row.network_size for row in result.images] == [None, (711, 640), None]
    assert result.to_dict()["predictions"][1]["network_size"] == [711, 640]
    assert Image.open(result.images[1].mask).size == (900, 1000)
    assert repr(result) == "Predictions(3 of 3 images by two_layer_net, 0 skipped)"


def test_notes_on_how_files_were_read(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    pages = [Image.new("RGB", (20, 20), color) for color in ("red", "blue")]
    pages[0].save(tmp_path / "pages.gif", save_all=True, append_images=pages[1:])
    Image.fromarray(np.full((20, 20), 4000, np.uint16)).save(tmp_path / "deep.png")
    result = vocseg.predict(tmp_path, tmp_path / "out", model=segment)
    found = {row["image"]: row["notes"] for row in result.to_dict()["predictions"]}
    assert found == {
        str(tmp_path / "deep.png"): ["16-bit pixels up to 4,000 are scaled as 12-bit ones"],
        str(tmp_path / "pages.gif"): ["it holds several images; the first is read"],
    }
