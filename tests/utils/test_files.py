from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vocseg.errors import OutputError
from vocseg.utils.files import building, refuse_to_replace, replacing, writable_folder, write_json, write_text


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


def test_folder_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        writable_folder(tmp_path / "file" / "below")


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


def test_building_clears_what_killed_processes_left(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead, alive = tmp_path / f".new.{ended.pid}.part", tmp_path / f".new.{os.getppid()}.part"
    for left in (dead, alive):
        left.mkdir()
        (left / "half").write_text("x")
    with building(tmp_path / "new"):
        assert not dead.exists()
        assert (alive / "half").exists()


def put(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)


def test_inputs_are_not_replaced_by_whatever_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, other = tmp_path / "in" / "a.png", tmp_path / "out" / "a.png"
    put(source, other)
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
    put(*(root / name for name in ("JPEGImages/a.jpg", "mine/a.png", "ImageSets/Segmentation/val.txt", "results/scores.json")))
    (tmp_path / "masks").mkdir()
    (root / "SegmentationClass").symlink_to("../masks")  # which leads out of the layout
    (tmp_path / "link").symlink_to("d/JPEGImages")
    for name in ("d/JPEGImages/b.png", "link/b.png", "d/SegmentationClass/b.png", "d/SegmentationClassAug/deep/b.png"):
        with pytest.raises(OutputError, match="holds a data set's images, masks or lists"):
            refuse_to_replace([tmp_path / name])
    with pytest.raises(OutputError, match="holds a data set's images, masks or lists"):
        refuse_to_replace([root / "ImageSets" / "Segmentation" / "val.txt"])
    with pytest.raises(OutputError, match=r"mine/a\.png: it would replace a mask of the data set"):
        refuse_to_replace([root / "mine" / "a.png"])
    refuse_to_replace([root / "results" / "scores.json", root / "show.png", root / "predictions" / "a.png", tmp_path / "a.png"])
