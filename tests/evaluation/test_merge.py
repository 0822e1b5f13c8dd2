"""Shards of evaluations, scores, label errors and diagnoses, merged, against one run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import vocseg
from doctor.defects import DEFECTS
from vocseg import voc
from vocseg.data.layout import VocFolder
from vocseg.data.synthetic import write_synthetic
from vocseg.errors import DataError, InputError, OutputError, SettingError
from vocseg.evaluation import evaluate as evaluation
from vocseg.models import create_model, save_model
from vocseg.utils.shards import MANIFEST, Shard

Verb = Callable[..., Any]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of which the val split is listed in no order."""
    folder = tmp_path_factory.mktemp("shards") / "data"
    write_synthetic(folder, train=3, val=6, size=(40, 48), seed=5)
    file = folder / voc.SPLITS / "val.txt"
    file.write_text("".join(sorted(file.read_text().splitlines(keepends=True), key=lambda line: line[::-1])))
    return folder


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "data"
    write_synthetic(folder, train=6, val=4, size=(60, 90), seed=2)
    return folder


@pytest.fixture(scope="module")
def model(data: Path) -> Path:
    torch.manual_seed(0)
    save_model(data.parent / "m.safetensors", create_model("two_layer_net", VocFolder.find(data).classes))
    return data.parent / "m.safetensors"


@pytest.fixture(scope="module")
def masks(data: Path, model: Path) -> Path:
    vocseg.evaluate(model, data, save_masks=data.parent / "masks", device="cpu")
    return data.parent / "masks"


@pytest.fixture(params=["evaluate", "score", "errors", "doctor"])
def verb(request: pytest.FixtureRequest, data: Path, model: Path, masks: Path) -> Verb:
    verbs: dict[str, Verb] = {
        "evaluate": lambda **more: vocseg.evaluate(model, data, device="cpu", precision="float32", **more),
        "score": lambda **more: vocseg.score(masks, data, **more),
        "errors": lambda **more: vocseg.find_label_errors(data, model, "val", device="cpu", **more),
        "doctor": lambda **more: vocseg.examine(data, **more),
    }
    return verbs[request.param]


def content(folder: Path) -> dict[str, bytes]:
    """The files of a result, without the times in them and without shards."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.relative_to(folder).parts[0].startswith("shard-"):
            lines = path.read_bytes().splitlines(keepends=True)
            timed = (b'"seconds"', b"image-mask pairs in ")
            files[str(path.relative_to(folder))] = b"".join(line for line in lines if not any(word in line for word in timed))
    return files


@pytest.mark.parametrize("total", [1, 2, 3, 7])  # of 6 images, so that one of 7 shards is empty
def test_shards_give_the_bits_of_one_run(verb: Verb, tmp_path: Path, total: int) -> None:
    verb(out=tmp_path / "one")
    for number in range(total, 0, -1):
        verb(out=tmp_path / "many", shard=f"{number}/{total}")
    result = vocseg.merge(tmp_path / "many", tmp_path / "many")
    assert content(tmp_path / "many") == content(tmp_path / "one")
    vocseg.merge([tmp_path / "many" / f"shard-{number}-of-{total}" for number in range(1, total + 1)], tmp_path / "again")
    assert content(tmp_path / "again").items() <= content(tmp_path / "one").items()
    assert repr(result)


def test_a_finished_shard_is_kept_and_another_is_made_again(verb: Verb, data: Path, tmp_path: Path) -> None:
    def times() -> dict[str, int]:
        return {path.parent.name: path.stat().st_ino for path in tmp_path.glob("shard-*/*") if path.name != MANIFEST}

    for shard in ("1/2", "2/2"):
        verb(out=tmp_path, shard=shard)
    before = times()
    results = [verb(out=tmp_path, shard=shard) for shard in ("1/2", "2/2")]
    assert times() == before
    assert all(map(repr, results))
    changed = VocFolder.find(data).mask(VocFolder.find(data).ids("val")[0])
    number = 1 if Shard(1, 2).holds(changed.stem) else 2
    changed.touch()
    for shard in ("1/2", "2/2"):
        verb(out=tmp_path, shard=shard)
    assert {name for name, place in times().items() if before[name] != place} == {f"shard-{number}-of-2"}


def test_a_damaged_shard_is_refused_and_made_again(verb: Verb, tmp_path: Path) -> None:
    """Each file in turn is cut, as by a copy that was broken off."""
    verb(out=tmp_path / "one")
    for shard in ("1/2", "2/2"):
        verb(out=tmp_path / "many", shard=shard)
    files = [path for path in (tmp_path / "many" / "shard-1-of-2").iterdir() if path.suffix in (".json", ".npz")]
    assert files
    for file in files:
        file.write_bytes(file.read_bytes()[:100])
        with pytest.raises(DataError, match=f"{file.name}.*; run the shard again"):
            vocseg.merge(tmp_path / "many")
        verb(out=tmp_path / "many", shard="1/2")
        vocseg.merge(tmp_path / "many", tmp_path / "many")
        assert content(tmp_path / "many") == content(tmp_path / "one")


def test_merge_writes_nothing_beside_a_file_of_yours(data: Path, masks: Path, tmp_path: Path) -> None:
    vocseg.score(masks, data, out=tmp_path / "parts", shard="1/1")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "scores.json").write_text("mine")
    with pytest.raises(OutputError, match=r"scores\.json: it exists, and vocseg did not write it"):
        vocseg.merge(tmp_path / "parts", tmp_path / "mine")
    assert [path.read_text() for path in (tmp_path / "mine").iterdir()] == ["mine"]


def test_data_that_has_moved_is_to_be_named(data: Path, model: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "old")
    vocseg.find_label_errors(tmp_path / "old", model, "val", device="cpu", out=tmp_path / "errors", shard="1/1")
    vocseg.examine(tmp_path / "old", out=tmp_path / "doctor", shard="1/1")
    (tmp_path / "old").rename(tmp_path / "new")
    for results in (tmp_path / "errors", tmp_path / "doctor"):
        with pytest.raises(InputError, match=r"data set of .*1-of-1 is no longer at .*old: name its folder with --data"):
            vocseg.merge(results)
        vocseg.merge(results, data=tmp_path / "new")


def test_masks_that_are_gone_are_made_again(data: Path, model: Path, tmp_path: Path) -> None:
    vocseg.evaluate(model, data, device="cpu", out=tmp_path, shard="1/1")
    mask = min((tmp_path / "masks").iterdir())
    content = mask.read_bytes()
    mask.unlink()
    vocseg.evaluate(model, data, device="cpu", out=tmp_path, shard="1/1")
    assert mask.read_bytes() == content


def test_an_image_that_is_added_changes_its_own_shard_only(
    data: Path, masks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown, out = Path(shutil.copytree(data, tmp_path / "grown", copy_function=shutil.copy2)), tmp_path / "out"
    folder = VocFolder.find(grown)
    torch.manual_seed(0)
    model = create_model("two_layer_net", folder.classes)
    for shard in ("1/3", "2/3", "3/3"):
        vocseg.evaluate(model, grown, device="cpu", shard=shard, out=out)
    one = folder.ids("val")[0]
    shutil.copy(folder.image(one), folder.root / voc.IMAGES / "added.jpg")
    shutil.copy(folder.mask(one), folder.root / voc.MASKS / "added.png")
    with open(folder.root / voc.SPLITS / "val.txt", "a") as file:
        file.write("added\n")
    scored: list[int] = []
    real = evaluation.evaluate_split
    monkeypatch.setattr(evaluation, "evaluate_split", lambda *args, **more: scored.append(1) or real(*args, **more))
    vocseg.evaluate(model, grown, device="cpu", shard="1/3", out=out)
    if not (changed := Shard(1, 3).holds("added")):
        with pytest.raises(InputError, match=r"other lists of 7 images in .*1-of-3, but of 6 images in .*2-of-3: run all shards"):
            vocseg.merge(out)
    for shard in ("2/3", "3/3"):
        vocseg.evaluate(model, grown, device="cpu", shard=shard, out=out)
    assert len(scored) == 1
    assert isinstance(changed, bool)
    merged, whole = vocseg.merge(out), vocseg.evaluate(model, grown, device="cpu")
    assert isinstance(merged, vocseg.Evaluation)
    assert merged.scores == whole.scores
    assert merged.loss == whole.loss


def test_mixtures_name_both(data: Path, model: Path, masks: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    other = create_model("two_layer_net", VocFolder.find(data).classes)
    save_model(tmp_path / "m.safetensors", other)
    vocseg.evaluate(model, data, device="cpu", shard="1/2", out=tmp_path / "a")
    for name, more, message in (
        (
            "b",
            {"model": tmp_path / "m.safetensors"},
            r"model m\.safetensors \(.*1-of-2, but m\.safetensors \(.*2-of-2",
        ),
        ("c", {"split": "train"}, "split val in .* but train in .*c/shard-2-of-2"),
        ("d", {"tta": "flip"}, "tta none in .*, but flip in "),
        ("e", {"max_short_side": 30}, "max_short_side 640 in .*, but 30 in "),
    ):
        options: dict[str, Any] = {"model": model, "data": data, "device": "cpu", **more}
        vocseg.evaluate(**options, shard="2/2", out=tmp_path / name)
        with pytest.raises(InputError, match=message):
            vocseg.merge([tmp_path / "a", tmp_path / name])
    vocseg.score(masks, data, shard="2/2", out=tmp_path / "f")
    with pytest.raises(InputError, match=r"results of evaluate in .*, but score in "):
        vocseg.merge([tmp_path / "a", tmp_path / "f"])


@pytest.mark.parametrize(
    "defect", ["truncated_image", "reordered_palette", "leak", "near_duplicate", "sequence", "missing_mask", "binary"]
)
def test_defects_in_shards_are_those_of_one_run(sound: Path, tmp_path: Path, defect: str) -> None:
    shutil.copytree(sound, tmp_path / "data")
    DEFECTS[defect][1](tmp_path / "data")
    whole = vocseg.examine(tmp_path / "data")
    for number in (1, 2, 3):
        part = vocseg.examine(tmp_path / "data", shard=f"{number}/3", out=tmp_path / "out")
        assert {case for finding in part.findings for case in finding.cases if not finding.kind.startswith(("all", "void"))} <= {
            case for finding in whole.findings for case in finding.cases
        }
    moved = (tmp_path / "data").rename(tmp_path / "moved")
    merged = vocseg.merge(tmp_path / "out", data=moved)
    assert isinstance(merged, vocseg.Diagnosis)
    assert [finding.to_dict() for finding in merged.findings] == [finding.to_dict() for finding in whole.findings]
    assert merged.to_dict()["splits"] == whole.to_dict()["splits"]
    (moved / voc.IMAGES / "synth_000009.jpg").unlink()
    with pytest.raises(InputError, match="has other images or lists than when"):
        vocseg.merge(tmp_path / "out", data=moved)


def test_wrong_use(data: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="shard '5/4' is not I/N"):
        vocseg.evaluate(model, data, shard="5/4")
    with pytest.raises(SettingError, match="shard must be a string"):
        vocseg.find_label_errors(data, model, shard=(0, 4))  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="without fit_temperature, which needs all images"):
        vocseg.evaluate(model, data, shard="1/4", fit_temperature=tmp_path / "t.safetensors")
    vocseg.evaluate(model, data, device="cpu", shard="1/1", out=tmp_path)
    (tmp_path / "shard-1-of-1" / "per_image.npz").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"per_image\.npz"):
        vocseg.merge(tmp_path)
