"""Label errors of a small data set with seeded faults."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vocseg
from vocseg import draw, voc
from vocseg.data.image_io import read_mask
from vocseg.data.layout import VocFolder
from vocseg.data.samples import FOLDER
from vocseg.errors import DataError, InputError, OutputError, SettingError
from vocseg.evaluation.label_errors import find_label_errors
from vocseg.evaluation.label_result import LabelErrors

AREA = 0.02
"""Smallest objects, as a share of the image: the network sees bottles on the space suit."""


@pytest.fixture(scope="module")
def segmenter() -> vocseg.Segmenter:
    return vocseg.Segmenter(device="cpu", precision="float32")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The samples of the package with three faults: no cat, an astronaut who is a bottle, and a boat that is not there."""
    root = Path(shutil.copytree(FOLDER, tmp_path_factory.mktemp("faults") / "samples"))
    for name, change in (
        ("chelsea", lambda mask: np.where(mask == 8, 0, mask)),
        ("astronaut", lambda mask: np.where(mask == 15, 5, mask)),
        ("rocket", lambda mask: np.where(np.indices(mask.shape).min(0) < 60, 4, mask)),
    ):
        path = root / voc.MASKS / f"{name}.png"
        with Image.open(path) as image:
            mask = np.array(image)
        draw.save_mask(torch.from_numpy(change(mask).astype(np.uint8)), path)
    return root


@pytest.fixture(scope="module")
def result(data: Path, segmenter: vocseg.Segmenter) -> LabelErrors:
    return find_label_errors(data, segmenter, "samples", min_area=AREA)


def test_seeded_faults_are_found(result: LabelErrors) -> None:
    assert {image.id for image in result.images[:3]} == {"chelsea", "astronaut", "rocket"}
    found = {(error.id, error.kind, error.label, error.suggested) for error in result.objects}
    assert found >= {
        ("chelsea", "missing", "background", "cat"),
        ("astronaut", "class", "bottle", "person"),
        ("rocket", "spurious", "boat", "background"),
    }
    assert result.found == {kind: sum(error.kind == kind for error in result.objects) for kind in result.found}
    assert [error.doubt for error in result.objects] == sorted((error.doubt for error in result.objects), reverse=True)
    assert repr(result) == f"LabelErrors({len(result.objects)} objects in 4 images of samples)"


def test_scores_are_those_of_the_plain_probabilities(result: LabelErrors, data: Path, segmenter: vocseg.Segmenter) -> None:
    for image in result.images:
        folder = VocFolder.find(data)
        mask = read_mask(folder.mask(image.id)).long()
        probabilities = segmenter(folder.image(image.id)).probabilities().double()
        valid = mask != 255
        own = probabilities.gather(0, torch.where(valid, mask, 0)[None])[0][valid]
        expected = float((own * torch.softmax((1 - own) / 0.1, 0)).sum())
        assert image.softmin == pytest.approx(expected, abs=1e-5)


def test_shards_give_the_same_to_the_last_bit(
    result: LabelErrors, data: Path, segmenter: vocseg.Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for count in (2, 3, 4):
        parts = [
            find_label_errors(data, segmenter, "samples", min_area=AREA, shard=f"{number}/{count}")
            for number in range(1, count + 1)
        ]
        assert parts[-1].merge(*parts[:-1]) == result
    totals = set()
    real = segmenter.low_res_logits
    monkeypatch.setattr(segmenter, "low_res_logits", lambda images, total=1: totals.add(total) or real(images, total))
    for shard in ("1/2", "2/2"):
        find_label_errors(data, segmenter, "samples", shard=shard)
    assert totals == {4}  # by which an engine is chosen: of the data set, not of the shard
    with pytest.raises(InputError, match="share 4 images; the first: astronaut"):
        result.merge(result)
    with pytest.raises(InputError, match="another rank"):
        result.merge(find_label_errors(data, segmenter, "samples", shard="1/2", rank="softmin"))


def test_only_the_most_doubtful_objects_are_kept(result: LabelErrors, data: Path, segmenter: vocseg.Segmenter) -> None:
    few = find_label_errors(data, segmenter, "samples", min_area=AREA, limit=1)
    assert few.objects == tuple(next(error for error in result.objects if error.kind == one.kind) for one in few.objects)
    assert {error.kind for error in few.objects} == {kind for kind, count in result.found.items() if count}
    assert few.found == result.found
    assert find_label_errors(data, segmenter, "samples", min_area=1.0).objects == ()
    by_softmin = find_label_errors(data, segmenter, "samples", rank="softmin").images
    assert [image.softmin for image in by_softmin] == sorted(image.softmin for image in result.images)  # type: ignore[type-var]


def test_files(result: LabelErrors, data: Path, tmp_path: Path) -> None:
    result.save(tmp_path / "errors")
    assert LabelErrors.load(tmp_path / "errors" / "review.json", data) == result
    page = (tmp_path / "errors" / "index.html").read_text()
    assert "default-src 'none'" in page
    assert not re.search(r"<script|(src|href)=\"(?!data:|#)", page)
    for error in result.objects:
        assert f"{error.label} → {error.suggested}" in page
    assert "chelsea" in page
    assert "perhaps in sample for 4 images" in page
    result.save(tmp_path / "errors")  # ours may be replaced
    values = json.loads((tmp_path / "errors" / "review.json").read_text())
    for change in ({"objects": [{"id": "x"}]}, {"images": 5}, {"objects": [values["objects"][0] | {"accept": "yes"}]}):
        (tmp_path / "bad.json").write_text(json.dumps(values | change))
        with pytest.raises(DataError, match="holds no label errors"):
            LabelErrors.load(tmp_path / "bad.json")


def test_decisions_are_not_replaced(result: LabelErrors, data: Path, segmenter: vocseg.Segmenter, tmp_path: Path) -> None:
    for shard in ("1/2", "2/2"):
        find_label_errors(data, segmenter, "samples", min_area=AREA, shard=shard, out=tmp_path)
    replace(result, objects=(replace(result.objects[0], accept=False), *result.objects[1:])).save(tmp_path / "review.json")
    for again in (lambda: find_label_errors(data, segmenter, "samples", out=tmp_path), lambda: vocseg.merge(tmp_path, tmp_path)):
        with pytest.raises(OutputError, match=r"review.json: it has 1 reviewed object \(accept\); choose another"):
            again()
    result.save(tmp_path / "review.json")
    assert vocseg.merge(tmp_path, tmp_path).to_dict() == result.to_dict()


def test_suggestions_that_were_not_rejected_go_out_and_back(result: LabelErrors, data: Path, tmp_path: Path) -> None:
    result.save(tmp_path / "review.json")
    values = json.loads((tmp_path / "review.json").read_text())
    for error in values["objects"]:
        error["accept"] = error["id"] != "rocket"
    (tmp_path / "review.json").write_text(json.dumps(values))
    reviewed = LabelErrors.load(tmp_path / "review.json", data)
    assert reviewed.suggest(tmp_path / "fixes") == [error.id for error in result.objects if error.id != "rocket"]
    vocseg.convert(data, tmp_path / "new", corrections=tmp_path / "fixes", splits=data / voc.SPLITS)
    before, after = (
        {path.stem: read_mask(path).numpy() for path in (root / voc.MASKS).iterdir()} for root in (data, tmp_path / "new")
    )
    for name in ("rocket", "camera"):
        assert np.array_equal(before[name], after[name])
    for name, label in (("chelsea", "cat"), ("astronaut", "person")):
        [error] = [error for error in result.objects if error.id == name]
        expected = before[name].copy()
        expected[error.pixels(*expected.shape) & (expected != 255)] = voc.CLASSES.index(label)
        assert np.array_equal(after[name], expected)
    result.suggest(tmp_path / "coco", "coco")
    assert len(json.loads((tmp_path / "coco" / "annotations" / "samples.json").read_text())["images"]) == 3


def test_the_model_that_was_not_trained_on_an_image_scores_it(synth: Path, tmp_path: Path) -> None:
    quick = {"iterations": 1, "crop": 32, "batch_size": 2, "workers": 0}
    models = vocseg.train_folds(synth, "two_layer_net", out=tmp_path / "folds", folds=2, split="trainval", **quick)
    whole = vocseg.train(synth, "two_layer_net", out=tmp_path / "run", **quick).best  # type: ignore[arg-type]
    result = find_label_errors(synth, models, "trainval")
    assert all(image.out_of_sample for image in result.images)
    assert result.sample_note.startswith("out of sample")
    alone = [find_label_errors(synth, model, "trainval") for model in models]
    for image in result.images:
        assert any(image in one.images for one in alone)
    assert find_label_errors(synth, [whole, *models], "trainval").sample_note.startswith("out of sample")
    assert find_label_errors(synth, whole, "trainval").sample_note.startswith(
        "out of sample for 4 images; in sample for 6 images: "
    )


def test_wrong_use(data: Path, segmenter: vocseg.Segmenter, synth: Path) -> None:
    with pytest.raises(SettingError, match="shard"):
        find_label_errors(data, segmenter, "samples", shard="3/2")
    with pytest.raises(vocseg.ModelError, match="21 classes"):
        find_label_errors(synth, segmenter, "train")
    with pytest.raises(OutputError, match="choose another folder"):
        find_label_errors(data, segmenter, "samples", out=data / voc.MASKS)
    with pytest.raises(OutputError, match="choose another folder"):
        find_label_errors(data, segmenter, "samples", out=data)
    with pytest.raises(InputError, match="no objects"):
        find_label_errors(data, segmenter, "samples", limit=0).suggest(data.parent / "x")


def test_images_of_void_alone_come_last(data: Path, segmenter: vocseg.Segmenter, tmp_path: Path) -> None:
    root = Path(shutil.copytree(data, tmp_path / "samples"))
    mask = read_mask(root / voc.MASKS / "chelsea.png")
    draw.save_mask(torch.full_like(mask, 255), root / voc.MASKS / "chelsea.png")
    last = find_label_errors(root, segmenter, "samples").images[-1]
    assert (last.id, last.region, last.softmin) == ("chelsea", None, None)
