from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vocseg.errors import DataError, InputError, OutputError, SettingError
from vocseg.utils.shards import MANIFEST, Manifest, Shard, find_shards, named_file, own_names, stamps

NAMES = st.lists(st.text(max_size=12), unique=True, max_size=40)


@settings(max_examples=40, deadline=None)
@given(NAMES, st.integers(1, 60))
def test_shards_are_a_partition(names: list[str], total: int) -> None:
    parts = [own_names(Shard(number, total), names) for number in range(1, total + 1)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert own_names(Shard(1, 1), names) == own_names(None, names) == names


@settings(max_examples=40, deadline=None)
@given(NAMES, NAMES, st.integers(1, 9))
def test_more_images_move_no_other(names: list[str], more: list[str], total: int) -> None:
    grown = [name for name in more if name not in names] + names
    for number in range(1, total + 1):
        shard = Shard(number, total)
        assert [name for name in own_names(shard, grown) if name in names] == own_names(shard, names)


def test_the_assignment_is_for_good() -> None:
    """Shards of other versions and machines are merged."""
    found = [next(number for number in range(1, 8) if Shard(number, 7).holds(f"2007_{image:06}")) for image in range(12)]
    assert found == [2, 5, 5, 3, 3, 7, 3, 1, 4, 1, 1, 4]


def test_shards_are_even() -> None:
    sizes = [len(own_names(Shard(number, 10), [f"2007_{image:06}" for image in range(10_000)])) for number in range(1, 11)]
    assert min(sizes) > 900
    assert max(sizes) < 1100


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "-1/3", "1/3 ", "a/b", "1/3/5", ""])
def test_shards_that_are_none(text: str) -> None:
    with pytest.raises(SettingError, match="is not I/N with I from 1 to N"):
        Shard.parse(text)


def write(out: Path, shard: str, verb: str = "score", names: str = "abc", inputs: str = "", **settings: object) -> Manifest:
    manifest = Manifest.of(verb, Shard.parse(shard), {"split": "val", **settings}, names, inputs, "data")
    with manifest.writing(out) as folder:
        (folder / "result").write_text(str(settings))
    return manifest


def test_a_shard_is_finished_while_its_settings_and_files_are_the_same(tmp_path: Path) -> None:
    manifest = write(tmp_path, "2/3", inputs="x")
    assert manifest.finished(tmp_path) == tmp_path / "shard-2-of-3"
    assert manifest.finished(tmp_path / "other") is None
    assert manifest.finished(None) is None
    for change in (
        Manifest.of("score", Shard(2, 3), {"split": "val"}, "abc", "y", "data"),
        Manifest.of("score", Shard(2, 3), {"split": "train"}, "abc", "x", "data"),
        Manifest.of("score", Shard(2, 4), {"split": "val"}, "abc", "x", "data"),
    ):
        assert change.finished(tmp_path) is None
    with pytest.raises(OutputError, match=r"shard-2-of-3: it has results of 'score'; choose another folder, or delete it"):
        Manifest.of("evaluate", Shard(2, 3), {"split": "val"}, "abc", "x", "data").finished(tmp_path)
    more = Manifest.of("score", Shard(2, 3), {"split": "val"}, "abcd", "x", "data")
    assert more.finished(tmp_path)  # the new image is another shard's
    assert Manifest.load(tmp_path / "shard-2-of-3") == more


def test_results_appear_complete_or_not_at_all(tmp_path: Path) -> None:
    write(tmp_path, "1/1", inputs="old")
    manifest = Manifest.of("score", Shard(1, 1), {}, "a", "new", "data")
    with pytest.raises(OutputError), manifest.writing(tmp_path) as folder:
        (folder / "missing" / "result").write_text("half")
    assert [path.name for path in tmp_path.iterdir()] == ["shard-1-of-1"]
    assert (tmp_path / "shard-1-of-1" / "result").read_text() == "{}"
    write(tmp_path, "1/1", more="new")
    assert (tmp_path / "shard-1-of-1" / "result").read_text() == "{'more': 'new'}"
    (tmp_path / "other" / "shard-1-of-1").mkdir(parents=True)
    with pytest.raises(OutputError, match="shard-1-of-1: it exists, and is not a shard"):
        write(tmp_path / "other", "1/1")


def test_shards_are_found_in_order(tmp_path: Path) -> None:
    for shard in ("10/10", *(f"{number}/10" for number in range(1, 10))):
        write(tmp_path, shard)
    folders = [tmp_path / f"shard-{number}-of-10" for number in range(1, 11)]
    assert list(find_shards([tmp_path])) == folders
    assert list(find_shards([*reversed(folders), tmp_path])) == folders


@pytest.mark.parametrize(
    ("shards", "message"),
    [
        ([("1/4", {}), ("4/4", {})], r"missing shards 2, 3 of 4: run with --shard I/4"),
        ([("1/2", {})], r"missing shard 2 of 2"),
        ([("2/999999999", {}), ("7/999999999", {})], r"missing shards 1, 3 to 6, 8 to 999999999 of 999999999: run"),
        ([(f"{number}/40", {}) for number in range(2, 40, 2)], r"missing shards 1, 3, 5, 7, 9, 11, 13, 15, 17, 19 and more of 40:"),
        ([("1/2", {}), ("2/2", {"formats": ["mask", "areas"]})], r"formats None in .*1-of-2, but mask, areas in .*2-of-2"),
        ([("1/2", {}), ("1/3", {})], r"number of shards 2 in .*shard-1-of-2, but 3 in .*shard-1-of-3"),
        ([("1/2", {}), ("2/2", {"split": "train"})], r"split val in .*1-of-2, but train in .*2-of-2: merge the shards of one run"),
        ([("1/2", {}), ("2/2", {"verb": "evaluate"})], r"results of score in .*1-of-2, but evaluate in .*2-of-2"),
        ([("1/2", {"model": "a"}), ("2/2", {"model": "b"})], r"model a in .*1-of-2, but b in .*2-of-2"),
        ([("1/2", {}), ("2/2", {"tta": "flip"})], r"tta None in .*1-of-2, but flip in .*2-of-2"),
        ([("1/2", {}), ("2/2", {"names": "abcd"})], r"other lists of 3 images in .*1-of-2, but of 4 images in .*2-of-2: run all"),
        ([], r"no results of shards in .*; --shard I/N with --out writes them"),
    ],
)
def test_what_is_not_one_run(tmp_path: Path, shards: list[tuple[str, dict[str, str]]], message: str) -> None:
    for shard, changes in shards:
        write(tmp_path, shard, **changes)
    with pytest.raises(InputError, match=message):
        find_shards([tmp_path])


def test_one_shard_twice(tmp_path: Path) -> None:
    write(tmp_path / "a", "1/2")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with pytest.raises(InputError, match=r"shard 1/2 is given twice: .*a/shard-1-of-2 and .*b/shard-1-of-2"):
        find_shards([tmp_path / "a", tmp_path / "b"])


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"shard": "9/3"}'])
def test_damaged_manifests(tmp_path: Path, content: str) -> None:
    write(tmp_path, "1/1")
    (tmp_path / "shard-1-of-1" / MANIFEST).write_text(content)
    with pytest.raises(DataError, match=r"shard\.json .*; run the shard again"):
        find_shards([tmp_path])
    manifest = Manifest.of("score", Shard(1, 1), {"split": "val"}, "abc", "", "data")
    assert manifest.finished(tmp_path) is None
    assert (
        manifest.once(tmp_path, Path.read_text, lambda: "new", lambda text, folder: (folder / "result").write_text(text)) == "new"
    )
    assert manifest.finished(tmp_path)


def test_damaged_results_are_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    manifest = write(tmp_path, "1/1")

    def load(folder: Path) -> str:
        if (text := (folder / "result").read_text()) == "cut":
            raise DataError(f"{folder / 'result'} is damaged")
        return text

    def once(new: str) -> str:
        return manifest.once(tmp_path, load, lambda: new, lambda text, folder: (folder / "result").write_text(text))

    assert once("a") == "{}"
    (tmp_path / "shard-1-of-1" / "result").write_text("cut")
    assert [once("a"), once("b")] == ["a", "a"]
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"{tmp_path / 'shard-1-of-1' / 'result'} is damaged; shard 1/1 is computed again"
    ]


def test_a_shard_of_another_run_is_named_before_work(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def once(shard: Shard, model: str) -> None:
        manifest = Manifest.of("score", shard, {"model": model}, "abc", "x", "data")
        manifest.once(tmp_path, str, lambda: "", lambda text, folder: None)

    once(Shard(1, 2), "a")
    once(Shard(2, 2), "a")
    assert not caplog.records
    once(Shard(1, 2), "b")
    assert [record.getMessage() for record in caplog.records] == [
        f"model a in {tmp_path / 'shard-2-of-2'}, but b here: run that shard again too, or choose another --out"
    ]


def test_another_folder_of_the_name_is_refused_before_work(tmp_path: Path) -> None:
    (tmp_path / "shard-1-of-1").mkdir()
    manifest = Manifest.of("score", Shard(1, 1), {}, "abc", "", "data")
    with pytest.raises(OutputError, match="shard-1-of-1: it exists, and is not a shard"):
        manifest.once(tmp_path, str, lambda: pytest.fail("worked"), lambda *_: None)


def test_what_tells_files_apart(tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    file.write_text("a")
    one, stamp = named_file(file), [*stamps([file])]
    file.write_text("bc")
    assert named_file(file) != one
    assert one.startswith("m.safetensors (")
    assert [*stamps([file])] != stamp
    assert named_file("vocseg-s") == "vocseg-s"
    with pytest.raises(DataError, match="cannot read"):
        list(stamps([tmp_path / "missing"]))
