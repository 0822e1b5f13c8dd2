"""Options that contradict each other or have no effect: one error, before torch is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import vocseg
from vocseg.data.samples import FOLDER
from vocseg.errors import ModelError, SettingError, VocsegError
from vocseg.inference import options
from vocseg.inference.formats import SINKS, traits_of
from vocseg.inference.sinks import CollectingSink, Sink

PHOTO = FOLDER / "JPEGImages" / "chelsea.jpg"


def test_the_table_of_formats_says_what_the_sinks_are() -> None:
    assert {name: traits_of(kind) for name, kind in SINKS.items()} == options.TRAITS


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"overlay": False, "formats": ["overlay"]}, "no overlays .* contradicts the format overlay"),
    ({"overlay": True, "formats": ["mask"]}, "add the format overlay"),
    ({"opacity": 0.3, "overlay": False}, "opacity .* 0.3 is that of overlays, and none are written, only mask"),
    ({"opacity": 0.3, "formats": ["mask", "coco"]}, "only mask, coco"),
    ({"opacity": 1.5}, r"opacity 1.5 must lie in 0\.\.1"),
    ({"simplify": 1.0}, "needs a format of polygons"),
    ({"formats": ["mask", "mask-video"]}, "choose one"),
    ({"formats": ["overlay"], "skip_existing": True}, "add the format mask"),
    ({"overlap": 10}, "overlap .* 10 is that of tiles"),
    ({"tile": 10}, "tile is 10; it must be at least 64"),
    ({"tile": 512, "max_short_side": 640}, "choose one"),
    ({"tile": 512, "formats": ["cutout"]}, "not cutout"),
    ({"tile": 512, "formats": ["mask", "coco"], "skip_existing": True}, "coco.json cannot be made from existing masks"),
    ({"start": 5.0, "end": 3.0}, "end is 3 s, not after start"),
    ({"stride": 0}, "stride is 0"),
    ({"stride": 1.5}, "stride must be an integer, not 1.5"),
    ({"exact": True, "precision": "bfloat16"}, "precision bfloat16 contradicts"),
    ({"exact": True, "engine": "openvino"}, "engine openvino contradicts"),
    ({"engine": "openvino", "device": "cuda"}, "runs on the CPU only"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED, ids=[str(given) for given, _ in REFUSED])
def test_contradictions_and_what_has_no_effect(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(VocsegError, match=message):
        vocseg.predict(PHOTO, tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_what_agrees_is_taken(tmp_path: Path) -> None:
    for given in (
        {"overlay": False, "formats": ["mask"]},
        {"overlay": True, "opacity": 0.3},
        {"formats": ["overlay"], "overlay": True},
    ):
        result = vocseg.predict(PHOTO, tmp_path, model="two_layer_net", weights="none", device="cpu", **given)
        assert len(result.images) == 1


def test_options_of_videos_without_videos(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    segment = vocseg.Segmenter("two_layer_net", device="cpu")
    for given in ({}, {"stride": 2}, {"every": 1.0}):
        caplog.clear()
        vocseg.predict(PHOTO, tmp_path, model=segment, **given)  # type: ignore[arg-type]
        assert ("no videos among the images: stride, start, end and every have no effect" in caplog.text) is bool(given)


def test_sinks_of_ones_own() -> None:
    class Own(Sink):
        pass

    class Collecting(CollectingSink):
        shared = "own.csv"

    own = [traits_of(Own), traits_of(Collecting)]
    rest: dict[str, Any] = {"simplify": 0.0, "skip_existing": False}
    options.check_formats(own, overlay=False, opacity=0.3, sharded=False, **rest)  # opacity may be for them
    with pytest.raises(SettingError, match=r"Collecting writes own\.csv of all images"):
        options.check_formats(own, overlay=None, opacity=0.3, sharded=True, **rest)


def test_a_segmenter_has_its_own_settings(tmp_path: Path) -> None:
    segment = vocseg.Segmenter("two_layer_net", device="cpu")
    for given in ({"device": "cpu"}, {"precision": "float32"}, {"tta": "flip"}, {"classes": ["a"]}, {"max_short_side": 0}):
        with pytest.raises(SettingError, match=f"{next(iter(given))} is what the Segmenter .* was made with"):
            vocseg.predict(PHOTO, tmp_path, model=segment, **given)  # type: ignore[arg-type]


def test_engines_without_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for engine in options.PACKAGES:
        with pytest.raises(ModelError, match="is not installed; pip install"):
            vocseg.Segmenter(device="cpu", engine=engine)  # type: ignore[arg-type]


WRONG = [
    "predict P --no-overlay --format overlay", "predict P --opacity 3", "predict P --opacity 0.3 --format mask",
    "predict P --palette nope.txt", "predict P --model nope.safetensors", "predict P --weights nope.pth", "predict P --stride 1.5",
    "predict P --simplify 2", "predict P --tile 10", "predict P --start 5 --end 3", "predict P --engine openvino --device cuda",
    "predict P --exact --precision bfloat16", "predict P --tta nope", "predict P --device nope", "predict nope.jpg",
    "predict nope*", "predict --watch nope", "predict P --shard 3/2", "evaluate nope.pth", "evaluate vocseg-s --data nope",
    "evaluate vocseg-s --data S --split nope", "score nope --data S --split samples", "score . --data S --split nope",
    "submit nope.pth --data S --split samples", "submit vocseg-s --data S --split nope", "compare nope nope", "report nope",
    "train --data S --split nope", "train --data nope", "data errors S --split nope",
    "data errors S --model nope.pth --split samples", "data doctor nope",
    "data show nope", "export nope.pth", "export --data S --split nope", "bench nope.pth", "serve nope.pth",
    "serve --exact --precision bfloat16", "merge nope", "data convert nope out",
]  # fmt: skip


def test_wrong_commands_end_before_torch_is_imported(tmp_path: Path) -> None:
    """torch takes seconds."""
    code = """
import sys
from vocseg.cli.main import main
for line in sys.stdin.read().splitlines():
    try:
        main([{"P": sys.argv[1], "S": sys.argv[2]}.get(word, word) for word in line.split()])
    except SystemExit as end:
        print(line, end.code, "torch" in sys.modules)
"""
    command = [sys.executable, "-c", code, str(PHOTO), str(FOLDER)]
    done = subprocess.run(command, input="\n".join(WRONG), capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.splitlines() == [f"{line} 2 False" for line in WRONG], done.stderr
    assert done.stderr.count("vocseg: error: ") == len(WRONG) == done.stderr.count("\n")
