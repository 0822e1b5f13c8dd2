from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vocseg.data import plugins
from vocseg.errors import DataError, InputError
from vocseg.inference.sources import Item, find_images, output_names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.PNG", "deep/c.tif", "deep/out/a.png", "notes.txt", "[x].gif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(found: list[Item]) -> list[str]:
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
    made = output_names(Item(Path(name), Path(name)) for name in given)
    assert [name.as_posix() for name in made] == ["a.jpg", "a.png", "deep/a", "b.jpg", "b-2", "b-3"]
    assert len(set(made)) == len(made)


def test_finding_images_does_not_import_torch() -> None:
    code = "import sys, vocseg.inference.sources; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_what_is_passed_over_in_a_folder(tmp_path: Path) -> None:
    for name in ("a.jpg", "._a.jpg", ".hidden/b.jpg", "__MACOSX/c.jpg", "Thumbs.db", "deep/d.webp", "e.jpg.part"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    skipped: dict[Path, DataError] = {}
    assert names(find_images(tmp_path, skipped=skipped)) == ["a.jpg", "deep/d.webp"]
    assert not skipped
    assert names(find_images(tmp_path / "._a.jpg")) == ["._a.jpg"]  # named by itself


@pytest.mark.parametrize("suffix", [".HEIC", ".jp2", ".jxl", ".cr2"])
def test_formats_that_are_not_read_are_named(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").touch()
    with pytest.raises(InputError, match=rf"holds no images that can be read: cannot read .*a{suffix}: {suffix} is not supported"):
        find_images(tmp_path)
    (tmp_path / "b.jpg").touch()
    skipped: dict[Path, DataError] = {}
    assert names(find_images(tmp_path, skipped=skipped)) == ["b.jpg"]
    assert list(skipped) == [tmp_path / f"a{suffix}"]


def test_formats_of_plugins_are_read_if_these_are_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.avif", "b.heic", "c.HEIF"):
        (tmp_path / name).touch()
    monkeypatch.setattr(plugins, "_is_installed", lambda kind: True)
    assert names(find_images(tmp_path)) == ["a.avif", "b.heic", "c.HEIF"]
    monkeypatch.setattr(plugins, "_is_installed", lambda kind: kind == "AVIF")
    skipped: dict[Path, DataError] = {}
    assert names(find_images(tmp_path, skipped=skipped)) == ["a.avif"]
    assert "b.heic: .heic is not supported: HEIC needs the Pillow plug-in pillow-heif" in str(skipped[tmp_path / "b.heic"])


def test_loops_pipes_and_dangling_links(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "link.png").symlink_to(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    skipped: dict[Path, DataError] = {}
    assert names(find_images(tmp_path, skipped=skipped)) == ["a.jpg", "link.png"]
    assert sorted(path.name for path in skipped) == ["gone.png", "pipe.jpg"]
    with pytest.raises(InputError, match=r"pipe\.jpg is neither a file nor a folder"):
        find_images(tmp_path / "pipe.jpg")


def test_folders_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.jpg").touch()
    real = os.scandir

    def scandir(path: str) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    skipped: dict[Path, DataError] = {}
    assert names(find_images(tmp_path, skipped=skipped)) == ["a.jpg"]
    assert [str(error) for error in skipped.values()] == [f"cannot read folder {tmp_path / 'closed'}: Permission denied"]
    with pytest.raises(InputError, match=r"closed holds no images that can be read: .*Permission denied"):
        find_images(tmp_path / "closed")


def test_files_of_one_name_keep_their_folders_names(tmp_path: Path) -> None:
    for name in ("one/a.jpg", "two/a.jpg", "two/b.jpg", "two/deep/b.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files = [tmp_path / name for name in ("one/a.jpg", "two/a.jpg", "two/b.jpg")]
    assert names(find_images(files)) == ["one/a.jpg", "two/a.jpg", "b.jpg"]
    assert names(find_images([tmp_path / "one", tmp_path / "two"])) == ["one/a.jpg", "two/a.jpg", "b.jpg", "deep/b.jpg"]
    assert names(find_images([files[0], files[0]])) == ["a.jpg", "a.jpg"]


def test_lists_name_images_relative_to_themselves(folder: Path, tmp_path: Path) -> None:
    (folder / "lists").mkdir()
    (folder / "lists" / "a.txt").write_text("../b.jpg\n\n../deep\n../none.jpg\nhttps://example.org/d%20e.jpg?x=1\n")
    skipped: dict[Path, DataError] = {}
    found = find_images(folder / "lists" / "a.txt", skipped=skipped)
    assert names(found) == ["b.jpg", "c.tif", "out/a.png", "d e.jpg"]
    assert found[-1].key == "https://example.org/d%20e.jpg?x=1"
    assert [str(error) for error in skipped.values()] == [
        f"list {folder / 'lists' / 'a.txt'}: no image or folder {folder / 'lists' / '..' / 'none.jpg'}"
    ]
    (folder / "b.csv").write_text('path,class\n"b.jpg",1\na.PNG,2\n')
    assert names(find_images(folder / "b.csv")) == ["b.jpg", "a.PNG"]  # in its order
    (folder / "notes.txt").write_text("some\ntext\n")
    with pytest.raises(InputError, match=r"list .*notes\.txt names no image that can be read: .*no image or folder .*some"):
        find_images(folder / "notes.txt")
    skipped = {}
    assert names(find_images([folder / "notes.txt", folder / "b.jpg"], skipped=skipped)) == ["b.jpg"]
    assert len(skipped) == 1


def test_standard_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def given(content: bytes) -> list[Item]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        return find_images("-")

    monkeypatch.chdir(folder)
    assert names(given(b"b.jpg\r\ndeep/c.tif\n")) == ["b.jpg", "c.tif"]
    [image] = given(b"\xff\xd8\xff\xe0")
    assert (image.relative, image.key, image.read()) == (Path("stdin"), "standard input", b"\xff\xd8\xff\xe0")
    with pytest.raises(InputError, match="standard input is empty"):
        given(b" \n")


def test_items_of_a_source_of_ones_own() -> None:
    items = [Item(Path(f"table/{row}"), Path(f"{row}.jpg"), read=lambda: b"") for row in range(2)]
    assert find_images(iter(items)) == items


def test_no_sources() -> None:
    with pytest.raises(InputError, match="no images to segment"):
        find_images([])


def test_an_empty_path_is_not_the_current_folder() -> None:
    with pytest.raises(InputError, match="an empty path names no image"):
        find_images([""])
