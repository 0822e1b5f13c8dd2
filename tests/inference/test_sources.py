from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from vocseg.errors import InputError
from vocseg.inference.sources import Found, find_images, output_names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "deep/c.tif", "deep/out/a.png", "notes.txt", "[x].gif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(found: list[Found]) -> list[str]:
    return [row.relative.as_posix() for row in found]


def test_files_folders_and_patterns(folder: Path) -> None:
    everything = ["[x].gif", "a.PNG", "b.jpg", "deep/c.tif", "deep/out/a.png"]
    assert names(find_images(folder)) == names(find_images(str(folder))) == everything
    assert names(find_images(folder, folder / "deep" / "out")) == everything[:-1]
    assert names(find_images([folder / "b.jpg", folder / "deep"])) == ["b.jpg", "c.tif", "out/a.png"]
    assert names(find_images(str(folder / "*.jpg"))) == ["b.jpg"]
    assert names(find_images(str(folder / "**" / "*.png"))) == ["a.png"]
    assert names(find_images(folder / "[x].gif")) == ["[x].gif"]  # a file of that name, not a pattern


def test_nothing_there(folder: Path) -> None:
    (folder / "empty").mkdir()
    for source, message in (("none.jpg", "no image or folder"), ("*.webp", "no image or folder"), ("empty", "holds no images")):
        with pytest.raises(InputError, match=message):
            find_images(folder / source)


def test_output_names_do_not_collide() -> None:
    given = ["a.jpg", "a.png", "deep/a.jpg", "b.jpg", "b.jpg", "b.jpg"]
    made = output_names(Found(Path(name), Path(name)) for name in given)
    assert [name.as_posix() for name in made] == ["a.jpg", "a.png", "deep/a", "b.jpg", "b-2", "b-3"]
    assert len(set(made)) == len(made)


def test_finding_images_does_not_import_torch() -> None:
    code = "import sys, vocseg.inference.sources; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
