from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from vocseg.data import plugins
from vocseg.errors import DataError, InputError
from vocseg.inference.names import output_names
from vocseg.inference.sources import Item, find_images


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
    for source, message in (
        ("none.jpg", "no image or folder"),
        ("*.webp", r"the pattern .*\*\.webp matches nothing"),
        ("empty", "holds no images"),
    ):
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
    (tmp_path / "again").symlink_to(tmp_path)  # two loops have 2^40 paths
    assert names(find_images(str(tmp_path / "**" / "*.jpg"), skipped={})) == ["a.jpg"]


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
    assert names(find_images([files[0], files[0]])) == ["a.jpg"]


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


def test_an_image_named_several_times_is_one(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "vocseg")
    (folder / "link.jpg").symlink_to(folder / "b.jpg")
    (folder / "elsewhere").symlink_to(folder / "deep")
    (folder / "twice.txt").write_text("b.jpg\n./deep/../b.jpg\nhttps://example.org/a.jpg\n")
    given = [
        folder / "b.jpg",
        folder / "deep" / ".." / "b.jpg",
        folder / "*.jpg",
        folder / "twice.txt",
        "https://example.org/a.jpg",
    ]
    assert names(find_images(given)) == ["b.jpg", "link.jpg", "a.jpg"]  # a link is an image of its own
    assert "5 repeats passed over: an image that is named several times is segmented once" in caplog.text
    assert names(find_images([folder / "deep", folder / "elsewhere" / "c.tif"])) == ["c.tif", "out/a.png"]
    mine = Item(folder / "b.jpg", Path("b.jpg"))
    assert names(find_images([mine, mine._replace(relative=Path("again.jpg")), folder / "b.jpg"])) == [
        "b.jpg",
        "again.jpg",
        "b.jpg",
    ]


def test_patterns_find_what_a_shell_would(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "vocseg")
    (folder / "clip.mp4").touch()
    (folder / "labels.txt").write_text("b.jpg 1\n")
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        archive.writestr("z.jpg", b"")
    (folder / "empty").mkdir()
    found = find_images(str(folder / "[!n]*"))  # all except notes.txt
    assert names(found) == ["[x].gif", "a.PNG", "b.jpg", "clip.mp4", "c.tif", "out/a.png", "z.jpg"]
    assert [item.is_video for item in found] == [name == "clip.mp4" for name in names(found)]
    assert f"pattern {folder / '[!n]*'}: 1 list passed over ({folder / 'labels.txt'}, ...); name lists to read them" in caplog.text
    (folder / "list.txt").write_text("b.jpg\n")
    assert names(find_images(str(folder / "lis*.txt"))) == ["b.jpg"]
    with pytest.raises(InputError, match=r"emp\*y matches no images"):
        find_images(str(folder / "emp*y"))


def test_comments_in_lists(folder: Path) -> None:
    (folder / "#1.jpg").touch()
    (folder / "a.txt").write_text("# my photographs\nb.jpg\n#1.jpg\n#2.jpg\n")
    assert names(find_images(folder / "a.txt")) == ["b.jpg", "#1.jpg"]  # a file of that name


@pytest.mark.parametrize("name", ["clip.mp4", "photos.zip", "photos.tar.gz", "list.txt?x=1", "list.csv"])
def test_addresses_of_what_is_no_image(name: str) -> None:
    with pytest.raises(InputError, match="of http addresses, only images are read; download it and name the file"):
        find_images(f"https://example.org/{name}")


def test_an_empty_path_is_not_the_current_folder() -> None:
    with pytest.raises(InputError, match="an empty path names no image"):
        find_images([""])
