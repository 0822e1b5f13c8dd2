from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vocseg import draw
from vocseg.errors import DataError, OutputError
from vocseg.utils import files
from vocseg.utils.files import (
    MARK,
    building,
    read_json,
    read_lines,
    read_text,
    read_yaml,
    refuse_to_replace,
    replacing,
    writable_folder,
    write_json,
    write_text,
)
from vocseg.utils.html import page


def write_half(path: Path, error: Exception) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise error


def test_failure_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(KeyError):
        write_half(path, KeyError("a bug"))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_is_one_line_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(OutputError, match=rf"cannot write {path}: No space left on device"):
        write_half(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_and_permissions(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "a.json", {"a": None})
    assert json.loads((tmp_path / "new" / "a.json").read_text()) == {"a": None}
    plain = tmp_path / "plain"
    plain.touch()
    assert (tmp_path / "new" / "a.json").stat().st_mode == plain.stat().st_mode
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "nan.json", float("nan"))
    assert not (tmp_path / "nan.json").exists()


def test_only_what_cannot_be_made_again_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[int] = []
    monkeypatch.setattr(os, "fsync", waited.append)
    mask = torch.zeros(2, 3, dtype=torch.uint8)
    draw.save_mask(mask, tmp_path / "a.png", note=files.MARK)
    assert not waited
    draw.save_mask(mask, tmp_path / "b.png")  # a repaired one, say
    write_json(tmp_path / "c.json", {})
    assert len(waited) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png", "c.json"]


def test_folder_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, why in ((tmp_path / "file", "it"), (tmp_path / "file" / "new" / "below", tmp_path / "file")):
        with pytest.raises(OutputError, match=f"cannot write {path}: {why} is a file, not a folder"):
            writable_folder(path)


def test_building_a_folder(tmp_path: Path) -> None:
    with building(tmp_path / "deep" / "new") as folder:
        (folder / "a").write_text("x")
        assert not (tmp_path / "deep" / "new").exists()
    assert (tmp_path / "deep" / "new" / "a").read_text() == "x"
    with pytest.raises(ZeroDivisionError), building(tmp_path / "failed") as folder:
        (folder / "a").write_text(str(1 / 0))
    with pytest.raises(OutputError, match=r"new is not an empty folder"), building(tmp_path / "deep" / "new"):
        pass
    with pytest.raises(OutputError, match="cannot write"), building(tmp_path / "deep" / "new" / "a" / "b"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


def put(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)


def test_inputs_are_not_replaced_by_whatever_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, other = tmp_path / "in" / "a.png", tmp_path / "out" / "a.png"
    put(source, other)
    other.write_bytes(MARK)
    (tmp_path / "link").symlink_to("in")
    (tmp_path / "b.png").symlink_to(source)
    monkeypatch.chdir(tmp_path / "out")
    for output in (source, tmp_path / "link" / "a.png", tmp_path / "b.png", Path("../in/a.png"), Path("../link/../in/a.png")):
        with pytest.raises(OutputError, match=r"cannot write .*: it would replace the input .*in/a\.png"):
            refuse_to_replace([None, other, output], [None, "vocseg-s", str(source)])
        with pytest.raises(OutputError, match="cannot write"):
            refuse_to_replace([output], [], [tmp_path / "in"])
    refuse_to_replace([other, tmp_path / "in" / "new.png"], [source, tmp_path / "none.png"])
    with pytest.raises(OutputError, match=r"link/new\.png: .*in holds the data set's images, masks or lists"):
        refuse_to_replace([tmp_path / "link" / "new.png"], [], [tmp_path / "in"])


def test_a_data_set_is_not_replaced_by_whatever_path(tmp_path: Path) -> None:
    root = tmp_path / "d"
    put(*(root / name for name in ("JPEGImages/a.jpg", "mine/a.png", "ImageSets/Segmentation/val.txt")))
    (root / "results").mkdir()
    (root / "results" / "scores.json").write_text("{}")
    (tmp_path / "masks").mkdir()
    (root / "SegmentationClass").symlink_to("../masks")  # which leads out of the layout
    (tmp_path / "link").symlink_to("d/JPEGImages")
    for name in ("d/JPEGImages/b.png", "link/b.png", "d/SegmentationClass/b.png", "d/SegmentationClassAug/deep/b.png"):
        with pytest.raises(OutputError, match="holds a data set's images, masks or lists"):
            refuse_to_replace([tmp_path / name])
    with pytest.raises(OutputError, match="holds a data set's images, masks or lists"):
        refuse_to_replace([root / "ImageSets" / "Segmentation" / "val.txt"])
    with pytest.raises(OutputError, match=r"mine/a\.png: it belongs to the data set"):
        refuse_to_replace([root / "mine" / "a.png"])
    put(root / "classes.txt")
    with pytest.raises(OutputError, match=r"classes\.txt: it belongs to the data set"):
        refuse_to_replace([root / "classes.txt"])
    refuse_to_replace([root / "results" / "scores.json", root / "show.png", root / "predictions" / "a.png", tmp_path / "a.png"])


def test_only_outputs_are_replaced(tmp_path: Path) -> None:
    contents = {
        "a.png": b"\x89PNG" + MARK,
        "a.json": b'{"a": 1}',
        "new.json": b"",
        "a.html": page("t", "").encode(),
        "a.onnx": b"x",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    refuse_to_replace([tmp_path / name for name in contents])
    for name, content in {"b.png": b"\x89PNG", "b.json": b"text", "b.html": b"<!doctype html>", "b.txt": b"x"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(OutputError, match="it exists, and vocseg did not write it"):
            refuse_to_replace([tmp_path / name])
    with pytest.raises(OutputError, match="two outputs have this name"):
        refuse_to_replace([tmp_path / "c.png", None, tmp_path / "x" / ".." / "c.png"])


@given(text=st.text(st.characters(exclude_characters="\ufeff", codec="utf-8")), encoding=st.sampled_from(["utf-8", "utf-8-sig"]))
def test_text_reads_back(text: str, encoding: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("t") / "a.txt"
    path.write_text(text, encoding=encoding, newline="")
    if "\0" not in text:
        assert read_text(path) == path.read_text(encoding="utf-8-sig")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_byte_order_marks(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes('{"é": 1}\r\n'.encode(encoding))
    assert read_json(tmp_path / "a.json") == {"é": 1}
    (tmp_path / "names").write_bytes("sky\r\ncat\x85 \u2028\rdog".encode(encoding))
    assert read_lines(tmp_path / "names", "class names") == ["sky", "cat\x85 \u2028", "dog"]


def test_what_is_no_text_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "latin").write_bytes("b\xe2timent".encode("latin-1"))
    (tmp_path / "long").write_text("x" * 101)
    for name, why in {
        "pipe": "it is not a regular file",
        "zeros": "it is not a regular file",
        ".": "it is not a regular file",
        "none": "No such file",
        "nu\0ll": "null",
        "self": "symbolic links",
        "latin": r"it is not UTF-8 text \(invalid continuation byte at byte 1\)",
        "long": "more than 0 MB",
    }.items():
        with pytest.raises(DataError, match=f"^cannot read list .*{why}") as caught:
            read_text(tmp_path / name, limit=100, what="list")
        assert "\n" not in str(caught.value)


DEEP = 100_000
LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))


@pytest.mark.parametrize("text", ["", "{", "[" * DEEP, "[" * DEEP + "]" * DEEP, '{"a": 1' + "0" * 5000 + "}", "{'a': 1}"])
def test_every_error_of_the_json_parser_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=r"^.*a\.json is not JSON: .") as caught:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["a: [", "a: 2024-99-99", "a: !!int abc", "a: !!python/object:os.system x", "[" * 5000, "a: &a [*a]", "? [{}]\n: 1", LAUGHS],
    ids=["open", "date", "integer", "object", "deep", "endless", "key", "laughs"],
)
def test_every_error_of_the_yaml_parser_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(DataError, match=r"^.*a\.yaml is not YAML: .") as caught:
        read_yaml(tmp_path / "a.yaml")
    assert "\n" not in str(caught.value)


words = st.text(st.characters(codec="ascii"))
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | words, lambda part: st.lists(part) | st.dictionaries(words, part), max_leaves=10
)


@given(value=plain)
def test_json_and_yaml_read_back(value: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("t")
    (folder / "a.json").write_text(json.dumps(value))
    (folder / "a.yaml").write_text(yaml.safe_dump(value))
    assert read_json(folder / "a.json") == read_yaml(folder / "a.yaml") == value


def test_yaml_may_share_values(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: &a [1, 2]\nb: *a\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": [1, 2], "b": [1, 2]}
    assert files.YAML_VALUES > 1000
