"""Interrupted and watched folders: nothing is lost, nothing is repeated, nothing is read half."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import vocseg
from vocseg.errors import DataError
from vocseg.inference import watch
from vocseg.inference.sources import Item
from vocseg.inference.watch import arrivals


@pytest.fixture(scope="module")
def segment() -> vocseg.Segmenter:
    return vocseg.Segmenter("two_layer_net", device="cpu")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for number in range(4):
        Image.effect_noise((40, 30 + number), 60).convert("RGB").save(tmp_path / "photos" / f"{number}.jpg")
    return tmp_path / "photos"


def test_an_interrupted_run_loses_nothing_and_repeats_nothing(
    segment: vocseg.Segmenter, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    formats = ["mask", "coco", "areas"]
    whole = vocseg.predict(photos, tmp_path / "whole", model=segment, formats=formats)  # type: ignore[arg-type]
    real, calls = vocseg.Segmenter.segment_loaded, count(1)

    def interrupted(self: vocseg.Segmenter, *args: Any, **options: Any) -> Any:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return real(self, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(vocseg.Segmenter, "segment_loaded", interrupted)
        with pytest.raises(KeyboardInterrupt, match="2 of 4 images done"):
            vocseg.predict(photos, tmp_path / "out", model=segment, formats=formats)  # type: ignore[arg-type]
    assert len(json.loads((tmp_path / "out" / "coco.json").read_text())["images"]) == 2
    (tmp_path / "out" / "3.png").touch()  # as a copy that was cut off
    result = vocseg.predict(photos, tmp_path / "out", model=segment, formats=formats, skip_existing=True)  # type: ignore[arg-type]
    assert [row.name for row in result.images] == ["2.jpg", "3.jpg"]
    assert (result.existing, result.total, result.to_dict()["existing"]) == (2, 2, 2)
    for name in ("coco.json", "areas.csv", *(f"{number}.png" for number in range(4))):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    again = vocseg.predict(photos, tmp_path / "out", model=segment, formats=formats, skip_existing=True)  # type: ignore[arg-type]
    assert (again.images, again.existing) == ((), 4)
    assert (tmp_path / "out" / "coco.json").read_bytes() == (tmp_path / "whole" / "coco.json").read_bytes()
    assert len(whole.images) == 4
    with pytest.raises(vocseg.SettingError, match="add the format mask"):
        vocseg.predict(photos, tmp_path / "out", model=segment, formats=["coco"], skip_existing=True)


def test_existing_overlays_pages_and_archives(segment: vocseg.Segmenter, photos: Path, tmp_path: Path) -> None:
    pages = [Image.new("RGB", (20, 20), color) for color in ("red", "blue")]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    archive = shutil.make_archive(str(tmp_path / "b"), "tar", photos)
    options = {"model": segment, "skip_existing": True}
    sources = [tmp_path / "a.tif", archive]
    assert len(vocseg.predict(sources, tmp_path / "out", **options).images) == 6  # type: ignore[arg-type]
    (tmp_path / "out" / "1_overlay.jpg").unlink()
    (tmp_path / "out" / "a.tif" / "0002.png").unlink()
    result = vocseg.predict(sources, tmp_path / "out", **options)  # type: ignore[arg-type]
    assert [row.name for row in result.images] == [str(Path("a.tif", "0002")), "1.jpg"]
    assert result.existing == 4


def test_files_are_taken_when_they_are_complete(photos: Path, tmp_path: Path) -> None:
    taken: list[list[str]] = []
    step = 0

    def sleep(seconds: float) -> None:
        nonlocal step
        step += 1
        if step == 2:
            (photos / "new.jpg").write_bytes(b"half")
        if step == 3:
            (photos / "new.jpg").write_bytes(b"half and more")
            (photos / "new.png").write_bytes(b"other")
            (photos / "out").mkdir()
            (photos / "out" / "x.png").write_bytes(b"x")
        if step == 6:
            (photos / "0.jpg").write_bytes(b"changed")
            (photos / "1.jpg").unlink()
        if step == 9:
            raise KeyboardInterrupt

    found: Iterator[list[Item]] = arrivals(photos, photos / "out", {}, sleep=sleep)
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        for items in found:
            taken.append([f"{step} {item.relative} {item.output}" for item in items])
    assert taken == [
        [f"1 {number}.jpg {number}" for number in range(4)],
        ["4 new.jpg new.jpg", "4 new.png new.png"],
        ["7 0.jpg 0"],
    ]


def test_watching_ends_with_what_was_done(
    segment: vocseg.Segmenter, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks = 0

    def sleep(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            (photos / "bad.jpg").write_text("text")
        if looks == 4:
            assert caplog.text.count(f"skipped: cannot decode image {photos / 'bad.jpg'}: damaged") == 1  # at once
            shutil.copy(photos / "0.jpg", photos / "mended.jpg")
            (photos / "mended.jpg").replace(photos / "worse.jpg")
        if looks == 7:
            raise KeyboardInterrupt

    (photos / "raw.jp2").touch()
    (photos / "worse.jpg").write_text("text")
    caplog.set_level("INFO", "vocseg.predict")
    real = arrivals
    monkeypatch.setattr("vocseg.inference.predict.arrivals", lambda *given: real(*given, sleep=sleep))
    result = vocseg.predict(photos, photos / "out", model=segment, watch=True, json=tmp_path / "j.json")
    assert [row.name for row in result.images] == [*(f"{number}.jpg" for number in range(4)), "worse.jpg"]
    assert list(result.errors) == [photos / "raw.jp2", photos / "bad.jpg"]  # and not what is mended
    for what in (f"read {photos / 'raw.jp2'}", f"decode image {photos / 'bad.jpg'}", f"decode image {photos / 'worse.jpg'}"):
        assert caplog.text.count(f"skipped: cannot {what}") == 1
    assert isinstance(result.errors[photos / "bad.jpg"], DataError)
    assert json.loads((tmp_path / "j.json").read_text())["images"] == 5
    looks = 4
    (photos / "bad.jpg").unlink()
    again = vocseg.predict(photos, photos / "out", model=segment, watch=True, skip_existing=True)
    assert (len(again.images), again.existing) == (0, 5)
    for sources in ([photos, photos], photos / "0.jpg"):
        with pytest.raises(vocseg.InputError, match="one folder can be watched"):
            vocseg.predict(sources, tmp_path / "out", model=segment, watch=True)
    assert watch.POLL_SECONDS == 1
