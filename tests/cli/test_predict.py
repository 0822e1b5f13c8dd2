"""`vocseg predict`."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from hostile_server import HostileServer
from verbs import Run, fails
from vocseg import voc
from vocseg.inference.sources import Item
from vocseg.utils import system


def test_predict_names_and_folders(run: Run, synth: Path, model: Path, tmp_path: Path) -> None:
    images = tmp_path / "in"
    (images / "deep").mkdir(parents=True)
    source = synth / voc.IMAGES / "synth_000000.jpg"
    shutil.copy(source, images / "a.jpg")
    shutil.copy(source, images / "deep" / "a.JPG")
    Image.open(source).save(images / "a.png")
    (images / "notes.txt").touch()
    assert run("predict", images, source, source, "--model", model, "--out", tmp_path / "out", "--no-overlay")[0] == 0
    found = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png"))
    assert found == ["a.jpg.png", "a.png.png", "deep/a.png", "synth_000000.png"]


def test_predict_bad_input(run: Run, model: Path, tmp_path: Path) -> None:
    fails(run("predict", tmp_path / "none.jpg", "--model", model), "no image or folder", tmp_path / "none.jpg")
    (tmp_path / "empty").mkdir()
    fails(run("predict", tmp_path / "empty", "--model", model), tmp_path / "empty", "holds no images")
    (tmp_path / "bad.jpg").write_text("no image")
    fails(run("predict", tmp_path / "bad.jpg", "--actors", "2"), "--actors needs --ray")
    fails(run("predict", tmp_path / "bad.jpg", "--model", model, "--out", tmp_path / "out"), tmp_path / "bad.jpg")
    assert not (tmp_path / "out").exists()
    Image.new("RGB", (20, 20)).save(tmp_path / "good.png")
    (tmp_path / "worse.gif").write_bytes(b"GIF89a")
    files = [tmp_path / name for name in ("bad.jpg", "good.png", "worse.gif")]
    result = run("predict", *files, "--model", model, "--out", tmp_path / "out", "--json", tmp_path / "areas.json")
    fails(result, "2 of 3 images skipped", files[0], files[2])
    assert (tmp_path / "out" / "good.png").is_file()
    skipped = json.loads((tmp_path / "areas.json").read_text())["skipped"]
    assert [row["image"] for row in skipped] == [str(files[0]), str(files[2])]


@pytest.mark.parametrize("bad", [2, 4])
def test_each_skipped_image_is_named_once(run: Run, model: Path, tmp_path: Path, bad: int) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "good.png")
    files = [tmp_path / f"{number}.jpg" for number in range(bad)]
    for file in files:
        file.write_text("no image")
    code, out, err = run("predict", *files, tmp_path / "good.png", "--model", model, "--out", tmp_path / "out")
    assert code == 2
    assert all((out + err).count(f"image {file}:") == 1 for file in files)
    assert err.startswith(f"vocseg: error: {bad} of {bad + 1} images skipped" + (":" if bad <= 3 else "\n"))


def test_watching_ends_with_0_whatever_was_skipped(run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "good.png")
    (tmp_path / "bad.jpg").write_text("no image")

    def arrivals(folder: Path, out: Path, skipped: object) -> Iterator[list[Item]]:
        yield [Item(folder / name, Path(name), output=Path(name).with_suffix("")) for name in ("bad.jpg", "good.png")]
        raise KeyboardInterrupt

    monkeypatch.setattr("vocseg.inference.predict.arrivals", arrivals)
    code, out, err = run("predict", "--watch", tmp_path, "--model", model, "--out", tmp_path / "out")
    assert (code, err) == (0, "")
    assert out.count(f"skipped: cannot decode image {tmp_path / 'bad.jpg'}: damaged") == 1
    assert out.endswith("1 image skipped\n")


def test_predict_addresses(run: Run, model: Path, tmp_path: Path) -> None:
    Image.new("RGB", (20, 16)).save(tmp_path / "a.png")
    with HostileServer(files={"/photos/a.png?size=1": (tmp_path / "a.png").read_bytes(), "/b.jpg": b"no image"}) as server:
        out = tmp_path / "out"
        assert run("predict", f"{server.url}/photos/a.png?size=1", "--model", model, "--out", out)[0] == 0
        assert sorted(path.name for path in out.iterdir()) == ["a.png", "a_overlay.jpg"]
        assert Image.open(out / "a.png").size == (20, 16)
        (tmp_path / "list.txt").write_text(f"{server.url}/photos/a.png?size=1\n{server.url}/b.jpg\n{server.url}/c.jpg\n")
        result = run("predict", tmp_path / "list.txt", "--model", model, "--out", out, "--json", tmp_path / "a.json")
        fails(result, "2 of 3 images skipped", f"{server.url}/b.jpg", f"{server.url}/c.jpg", "404 Not Found")
    written = json.loads((tmp_path / "a.json").read_text())
    assert [row["image"] for row in written["predictions"]] == [f"{server.url}/photos/a.png?size=1"]


def test_other_images_are_segmented_after_an_unsupported_format(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 3\n%%EndComments\nshowpage\n%%EOF\n")
    Image.new("RGB", (20, 20)).save(tmp_path / "in" / "b.png")
    result = run("predict", tmp_path / "in", "--model", model, "--out", tmp_path / "out")
    fails(result, "1 of 2 images skipped", tmp_path / "in" / "a.jpg", "it is a PostScript program, which is not supported")
    assert (tmp_path / "out" / "b.png").is_file()


def test_predict_replaces_no_image(run: Run, model: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b_overlay.jpg", "b.jpg"):
        Image.new("RGB", (20, 20), "red").save(tmp_path / name)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for image in (tmp_path, tmp_path / "a.png"):
        fails(run("predict", image, "--model", model, "--out", tmp_path), "would replace ", tmp_path / "a.png")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    overlay = tmp_path / "b_overlay.jpg"
    alone = ("predict", tmp_path / "b.jpg", overlay, "--model", model, "--out", tmp_path)
    fails(run(*alone), "would replace ", overlay)
    assert run(*alone, "--no-overlay")[0] == 0
    assert overlay.read_bytes() == before[overlay]
    for name in ("b.png", "b_overlay.png"):
        (tmp_path / name).unlink()
    for _ in range(2):  # predictions of the first are no images to the second
        assert run("predict", tmp_path, "--model", model, "--out", tmp_path / "deep" / "out")[0] == 0
        assert len(list((tmp_path / "deep" / "out").iterdir())) == 6


def test_predict_shows_names_as_they_are(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "deep" / "a[red]b.png")
    code, out, _ = run("predict", tmp_path, "--model", model, "--out", tmp_path / "[x]")
    assert code == 0
    assert "deep/a[red]b.png" in out
    assert f"masks and overlays in {tmp_path / '[x]'}" in out


def test_the_limit_of_pixels_can_be_raised(run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(system._limits, "pixels", 1000)
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    verb = ("predict", tmp_path / "a.png", "--model", model, "--out", tmp_path / "out")
    fails(run(*verb), tmp_path / "a.png", "30x40, more than 1,000 pixels", "--max-pixels")
    assert run(*verb, "--max-pixels", "1200")[0] == 0
    fails(run(*verb, "--max-pixels", "0"), "max_pixels is 0, not a positive number")
    fails(run(*verb, "--max-pixels", "many"), "--max-pixels", "many")


def test_standard_input_and_formats(run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    verb = ("predict", "-", "--model", model, "--out", tmp_path / "out")
    for content, name in (((tmp_path / "a.png").read_bytes(), "stdin"), (str(tmp_path / "a.png").encode(), "a")):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        code, out, err = run(*verb, "--format", "mask", "--format", "areas", "--skip-existing")
        assert code == 0, err
        assert f"1 image; mask, areas in {tmp_path / 'out'}" in out
        assert (tmp_path / "out" / f"{name}.png").is_file()
    verb = ("predict", tmp_path / "a.png", *verb[2:])
    assert "1 image had results already" in run(*verb, "--format", "mask", "--skip-existing")[1]
    fails(run(*verb, "--format", "areas", "--skip-existing"), "add the format mask")
    fails(run("predict", "--watch", tmp_path / "a.png", "--model", model), "one folder can be watched")


def test_warnings_of_libraries_do_not_reach_the_user(model: Path, tmp_path: Path) -> None:
    """In a process of its own: pytest catches warnings."""
    image = io.BytesIO()
    Image.new("RGB", (40, 30)).save(image, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\0\x12\x01")
    (tmp_path / "a.jpg").write_bytes(image.getvalue())
    command = [sys.executable, "-m", "vocseg", "predict", "a.jpg", "--model", model]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
