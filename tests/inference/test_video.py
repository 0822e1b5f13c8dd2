"""A real clip: variable frame rate, sound, rotation. The overlay has the same times, frames and sound."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import vocseg
from verbs import Run, fails
from vocseg.data.samples import FOLDER
from vocseg.inference.reading import expected
from vocseg.inference.result import Segmentation
from vocseg.inference.sources import Item, find_images
from vocseg.inference.video import Reading, read_frames
from vocseg.inference.video_sink import MaskVideoSink, OverlaySink
from vocseg.utils.remote import find, read_bytes, upload
from vocseg.utils.system import set_max_pixels

av = pytest.importorskip("av")

BASE = Fraction(1, 12800)


def make_clip(path: Path, frames: int = 60, sound: bool = True, size: tuple[int, int] = (96, 64)) -> Path:
    """Photographs that move, at a frame rate that changes, with a tone."""
    photograph = np.array(Image.open(FOLDER / "JPEGImages" / "chelsea.jpg").convert("RGB"))
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt, video.codec_context.time_base = *size, "yuv420p", BASE
        tone = out.add_stream("aac", rate=16000, layout="mono") if sound else None
        pts = 0
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(photograph[number : number + size[1], number : number + size[0]]), format="rgb24"
            )
            frame.pts, frame.time_base = pts, BASE
            pts += 512 if number % 3 else 1024
            out.mux(video.encode(frame))
        out.mux(video.encode())
        if tone is not None:
            wave = (np.sin(np.arange(16000 * pts // 12800) / 9) * 9000).astype(np.int16)[None]
            samples = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = 16000, 0, Fraction(1, 16000)
            out.mux(tone.encode(samples))
            out.mux(tone.encode())
    return path


def described(path: Path) -> tuple[list[float], float, list[bytes]]:
    """Times of the frames, duration in seconds, and the sound's packets."""
    with av.open(str(path)) as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
        duration = container.duration / 1e6
    with av.open(str(path)) as container:
        sound = [bytes(packet) for packet in container.demux(audio=0)] if container.streams.audio else []
    return times, duration, sound


@pytest.fixture(scope="module")
def segment() -> vocseg.Segmenter:
    return vocseg.Segmenter(device="cpu")


def test_the_overlay_is_the_clip(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4")
    result = vocseg.predict(clip, tmp_path / "out", model=segment)
    result.check()
    assert len(result.images) == 60
    assert [row.mask for row in result.images[:2]] == [tmp_path / "out" / "a.mp4" / f"00000{number}.png" for number in (1, 2)]
    made = tmp_path / "out" / "a_overlay.mp4"
    assert {row.overlay for row in result.images} == {made}
    times, duration, sound = described(clip)
    new_times, new_duration, new_sound = described(made)
    assert new_times == pytest.approx(times, abs=1e-4)
    assert new_duration == pytest.approx(duration, abs=0.09)
    assert new_sound == sound
    assert len(sound) > 10
    assert made.stat().st_size <= 1.5 * clip.stat().st_size
    before = made.read_bytes()
    again = vocseg.predict(clip, tmp_path / "out", model=segment, skip_existing=True)
    assert (len(again.images), again.existing, made.read_bytes()) == (0, 60, before)
    assert len(vocseg.predict(clip, tmp_path / "out", model=segment, end=0.3).images) == 6  # replaces what vocseg wrote
    assert described(made)[1] == pytest.approx(0.3, abs=0.09)  # the sound too


def gray_levels(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        assert (container.streams.video[0].codec_context.name, container.streams.video[0].codec_context.pix_fmt) == ("ffv1", "gray")
        return [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    "chosen", [{}, {"stride": 3}, {"start": 1.0, "end": 2.0}, {"every": 0.5}], ids=lambda chosen: "".join(chosen) or "all"
)
def test_a_video_of_masks_is_the_masks(segment: vocseg.Segmenter, tmp_path: Path, chosen: dict[str, float]) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=30)
    vocseg.predict(clip, tmp_path / "png", model=segment, formats=["mask", "overlay"], **chosen)
    [row, *_] = vocseg.predict(clip, tmp_path / "out", model=segment, formats=["mask-video"], **chosen).images
    assert row.mask == tmp_path / "out" / "a_mask.mkv"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a_mask.mkv"]
    masks = [np.array(Image.open(path)) for path in sorted((tmp_path / "png" / "a.mp4").iterdir())]
    stored = gray_levels(row.mask)
    assert len(masks) > 1
    assert len(stored) == len(masks)
    assert all(np.array_equal(one, other) for one, other in zip(stored, masks, strict=True))
    times = described(tmp_path / "png" / "a_overlay.mp4")[0]
    assert described(row.mask)[0] == pytest.approx(times, abs=6e-4)  # Matroska has milliseconds


def test_all_ids_are_stored(tmp_path: Path) -> None:
    mask = torch.arange(256, dtype=torch.uint8).reshape(16, 16)
    clip = make_clip(tmp_path / "a.mp4", frames=2, size=(16, 16))
    sink = MaskVideoSink(tmp_path, vocseg.Segmenter("two_layer_net", device="cpu").info)
    for frame, pixels in read_frames(str(clip), Path("a"), False, Reading()):
        item = Item(clip, Path("a.mp4"), frame=frame, is_video=True)
        sink.write(Segmentation(torch.from_numpy(pixels).permute(2, 0, 1), mask, sink.info), item)
    sink.close()
    assert all(np.array_equal(stored, mask.numpy()) for stored in gray_levels(tmp_path / "a_mask.mkv"))


def test_images_beside_a_video_of_masks(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    make_clip(tmp_path / "a.mp4", frames=2)
    Image.new("RGB", (9, 9)).save(tmp_path / "b.png")
    rows = vocseg.predict([tmp_path / "a.mp4", tmp_path / "b.png"], tmp_path / "out", model=segment, formats=["mask-video"]).images
    assert [row.mask.name for row in rows] == ["a_mask.mkv", "a_mask.mkv", "b.png"]
    with pytest.raises(vocseg.SettingError, match="mask and mask-video write the same masks; choose one"):
        vocseg.predict(tmp_path / "a.mp4", tmp_path / "out", model=segment, formats=["mask", "mask-video"])


@pytest.mark.parametrize("formats", [["mask", "overlay"], ["mask-video"], ["mask-video", "overlay"]], ids="+".join)
def test_clips_are_skipped_only_if_the_same_frames_are_there(segment: vocseg.Segmenter, tmp_path: Path, formats: list[str]) -> None:
    clip, out = make_clip(tmp_path / "a.mp4", frames=6), tmp_path / "out"

    def predict(**chosen: float) -> tuple[int, ...]:
        result = vocseg.predict(clip, out, model=segment, formats=formats, skip_existing=True, **chosen)
        result.check()
        made = {len(described(path)[0]) for path in out.glob("a_*.m*")}
        return len(result.images), result.existing, *made

    assert predict(stride=2) == (3, 0, 3)
    assert predict(stride=2) == (0, 3, 3)
    assert predict() == (6, 0, 6)
    assert predict() == (0, 6, 6)
    if "mask" in formats:
        (out / "a.mp4" / "000004.png").unlink()
        assert predict() == (6, 0, 6)


@pytest.mark.parametrize("name", ["a_overlay.mp4", "a_mask.mkv"])
def test_foreign_clips_are_not_replaced(segment: vocseg.Segmenter, tmp_path: Path, name: str) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=2)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(clip.read_bytes())
    with pytest.raises(vocseg.OutputError, match=f"{name}: it exists, and vocseg did not write it"):
        vocseg.predict(clip, tmp_path / "out", model=segment, formats=["mask-video", "overlay"])
    assert (tmp_path / "out" / name).read_bytes() == clip.read_bytes()


@pytest.mark.parametrize("color", [(230, 30, 40), (30, 200, 60), (20, 40, 220)])
@pytest.mark.parametrize(
    ("pixels", "colors", "full"),
    [
        ("yuv420p", 2, False),
        ("yuv420p", 1, False),
        ("yuv420p", 6, False),
        ("yuv420p", 1, True),
        ("yuv444p", 1, False),
        ("bgr0", 0, False),
    ],
)
def test_overlays_keep_colors(
    segment: vocseg.Segmenter, tmp_path: Path, color: tuple[int, int, int], pixels: str, colors: int, full: bool
) -> None:
    clip = tmp_path / "a.mkv"
    with av.open(str(clip), "w") as out:
        video = out.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 96, 64, pixels
        video.codec_context.colorspace, video.codec_context.color_range = colors, 2 if full else 1
        plain = av.VideoFrame.from_ndarray(np.full((64, 96, 3), color, np.uint8), format="rgb24")
        into = {"dst_colorspace": "ITU709" if colors == 1 else "ITU601", "dst_color_range": "JPEG" if full else "MPEG"}
        out.mux(video.encode(plain.reformat(format=pixels, **(into if "yuv" in pixels else {}))))
        out.mux(video.encode())
    [(frame, image)] = read_frames(str(clip), Path("a"), False, Reading())
    assert np.abs(image.astype(int) - color).max() <= 3
    assert (frame.picture is not None) == (pixels == "yuv420p" and not full)
    for label in (0, 15):
        sink = OverlaySink(tmp_path, segment.info)
        result = Segmentation(
            torch.from_numpy(image).permute(2, 0, 1), torch.full((64, 96), label, dtype=torch.uint8), segment.info
        )
        sink.write(result, Item(clip, Path("a.mkv"), frame=frame, is_video=True, output=Path("a")))
        sink.close()
        [(_, shown)] = read_frames(str(tmp_path / "a_overlay.mp4"), Path("a"), False, Reading())
        wanted = np.array(color) * (0.45 if label else 1) + np.array(segment.info.palette[label]) * (0.55 if label else 0)
        assert np.abs(shown - wanted).max() <= 6
    with av.open(str(tmp_path / "a_overlay.mp4")) as made:  # the source's, or BT.709, so that players show the same
        assert made.streams.video[0].codec_context.colorspace == (colors if frame.picture else 1)


def test_frames_are_chosen_by_number_and_time(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", sound=False)
    times = described(clip)[0]

    def chosen(**options: float) -> list[int]:
        return [int(Path(result.source).name) for result in segment.stream(clip, **options)]

    assert chosen() == list(range(1, 61))
    assert chosen(stride=7) == list(range(1, 61, 7))
    assert chosen(start=1, end=2) == [number for number, time in enumerate(times, 1) if 1 - 1e-6 <= time < 2]
    every = chosen(every=0.5)
    assert every == [next(number for number, time in enumerate(times, 1) if time >= half / 2 - 1e-6) for half in range(7)]
    for options, message in (
        ({"stride": 0}, "stride is 0"),
        ({"end": -1.0}, r"end is -1\.0"),
        ({"every": 0.0}, "every is 0"),
        ({"start": 3.0, "end": 1.0}, "end is 1 s, not after start, 3 s"),
    ):
        with pytest.raises(vocseg.SettingError, match=message):
            segment.stream(clip, **options)


def test_frames_are_counted_before_they_are_read(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    items = [Item(make_clip(tmp_path / "a.mp4"), Path("a.mp4"), is_video=True)]
    for chosen in ({}, {"stride": 7}, {"start": 1.0, "end": 2.0}, {"every": 0.5}):
        assert abs(expected(items, Reading(**chosen)) - len(list(segment.stream(items[0].path, **chosen)))) <= 1
    assert expected(items, Reading(start=99.0)) == expected(iter(items), Reading()) == 1
    assert expected([*items, Item(Path("b.png"), Path("b.png")), Item(tmp_path, Path("c"), is_video=True)], Reading()) == 62
    estimated = Item(make_clip(tmp_path / "a.mkv"), Path("a.mkv"), is_video=True)  # its head has no number
    assert 30 < expected([estimated], Reading()) < 120


def test_a_part_with_its_sound(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4")
    vocseg.predict(clip, tmp_path / "out", model=segment, start=1, stride=2)
    times, _, sound = described(tmp_path / "out" / "a_overlay.mp4")
    whole, _, whole_sound = described(clip)
    wanted = [time for number, time in enumerate(whole) if time >= 1 - 1e-6 and number % 2 == 0]
    assert times == pytest.approx([time - wanted[0] for time in wanted], abs=1e-4)
    assert whole_sound[-len(sound) :] == sound
    assert 0 < len(sound) < len(whole_sound)


def with_sound(path: Path, codec: str, rate: int) -> Path:
    """A clip of 20 frames and a tone that follows half a second of silence."""
    with av.open(str(path), "w") as out:
        video, sound = out.add_stream("libx264", rate=20), out.add_stream(codec, rate=rate, layout="mono")
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for number in range(20):
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 9 * number, np.uint8), format="rgb24")))
        out.mux(video.encode())
        times = np.arange(rate) / rate
        wave = (np.sin(2 * np.pi * 1000 * times) * 9000 * (times >= 0.5)).astype(np.int16)[None]
        samples = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
        samples.sample_rate, samples.pts, samples.time_base = rate, 0, Fraction(1, rate)
        out.mux(sound.encode(samples))
        out.mux(sound.encode())
    return path


@pytest.mark.parametrize(
    ("codec", "suffix", "rate"), [("pcm_s16le", ".mov", 16000), ("pcm_mulaw", ".avi", 8000), ("pcm_s16le", ".mkv", 7000)]
)
def test_sound_that_players_of_mp4_do_not_know_becomes_aac(
    segment: vocseg.Segmenter, tmp_path: Path, codec: str, suffix: str, rate: int
) -> None:
    clip = with_sound(tmp_path / f"a{suffix}", codec, rate)
    for start in (0.0, 0.25):
        vocseg.predict(clip, tmp_path / "out", model=segment, formats=["overlay"], start=start).check()
        with av.open(str(tmp_path / "out" / "a_overlay.mp4")) as made:
            stream = made.streams.audio[0]
            assert stream.codec.canonical_name == "aac"
            wave = np.concatenate([frame.to_ndarray()[0] for frame in made.decode(stream)])
        assert len(wave) / stream.rate == pytest.approx(1 - start, abs=0.15)
        at = int((0.5 - start) * stream.rate)
        part = wave[at + stream.rate // 8 :][: stream.rate // 4]
        assert np.argmax(np.abs(np.fft.rfft(part))) * stream.rate / len(part) == pytest.approx(1000, abs=10)
        assert np.std(part) == pytest.approx(9000 / 32768 / np.sqrt(2), rel=0.1)
        assert np.std(wave[: at - stream.rate // 10]) < 0.01
    assert not vocseg.predict(clip, tmp_path / "out", model=segment, formats=["overlay"], start=0.9).errors


def test_damaged_sound_ends_where_it_is_damaged(
    segment: vocseg.Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def resample(*_: object) -> None:
        raise ValueError("bad sound")

    clip = with_sound(tmp_path / "a.mov", "pcm_s16le", 16000)
    monkeypatch.setattr(av, "AudioResampler", lambda **_: SimpleNamespace(resample=resample))
    with caplog.at_level("INFO"):
        vocseg.predict(clip, tmp_path / "out", model=segment, formats=["overlay"]).check()
    assert caplog.messages == [f"{tmp_path / 'out' / 'a_overlay.mp4'}: its sound, or the rest of it, is left out: bad sound"]
    assert len(described(tmp_path / "out" / "a_overlay.mp4")[0]) == 20


def test_rotated_clips_are_upright(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=3, sound=False)
    [plain, *_] = [result.image for result in segment.stream(clip)]
    content = bytearray(clip.read_bytes())
    at = content.index(b"tkhd") + 44
    content[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 64 << 16, 0, 1 << 30)  # clockwise, as phones do
    clip.write_bytes(content)
    [turned, *_] = [result.image for result in segment.stream(clip)]
    assert torch.equal(turned, torch.rot90(plain, -1, (1, 2)))
    vocseg.predict(clip, tmp_path / "out", model=segment)
    with av.open(str(tmp_path / "out" / "a_overlay.mp4")) as made:
        assert (made.streams.video[0].width, made.streams.video[0].height) == (64, 96)


def test_odd_sizes_and_other_containers(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        video = out.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 45, 33, "bgr0"
        for number in range(3):
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.full((33, 45, 3), 40 * number, np.uint8), format="rgb24")))
        out.mux(video.encode())
    result = vocseg.predict(tmp_path / "a.mkv", tmp_path / "out", model=segment)
    assert Image.open(result.images[2].mask).size == (45, 33)
    with av.open(str(tmp_path / "out" / "a_overlay.mp4")) as made:
        assert [(frame.width, frame.height) for frame in made.decode(video=0)] == [(46, 34)] * 3


def test_an_interrupted_clip_leaves_no_half_overlay(
    segment: vocseg.Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=4)
    real = Segmentation.save

    def save(self: Segmentation, path: Path, **options: float) -> None:
        if path.name == "000003.png":
            raise KeyboardInterrupt
        real(self, path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Segmentation, "save", save)
        with pytest.raises(KeyboardInterrupt):
            vocseg.predict(clip, tmp_path / "out", model=segment)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.mp4"]
    vocseg.predict(clip, tmp_path / "out", model=segment, skip_existing=True)
    assert len(described(tmp_path / "out" / "a_overlay.mp4")[0]) == 4


def test_what_is_no_video(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("text")
    (tmp_path / "b.mp4").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n")  # a playlist would open addresses
    result = vocseg.predict([tmp_path / "a.mp4", tmp_path / "b.mp4"], tmp_path / "out", model=segment)
    assert [str(error).split(":")[0] for error in result.errors.values()] == [
        f"cannot open video {tmp_path / name}" for name in ("a.mp4", "b.mp4")
    ]
    make_clip(tmp_path / "c.mp4", frames=2)
    set_max_pixels(1000)
    try:
        with pytest.raises(vocseg.DataError, match="its frames are 64x96; raise --max-pixels"):
            list(segment.stream(tmp_path / "c.mp4"))
    finally:
        set_max_pixels(100_000_000)


def test_cameras_and_streams_go_to_pyav(segment: vocseg.Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, opened = make_clip(tmp_path / "a.mp4", frames=3), []
    real = av.open

    def open_(name: str, *given: object, **options: object) -> object:
        if name in ("/dev/video0", "rtsp://host/live") or name == "0":
            opened.append((name, options.get("format")))
            return real(str(clip))
        return real(name, *given, **options)

    monkeypatch.setattr(av, "open", open_)
    monkeypatch.chdir(tmp_path)
    result = vocseg.predict(["0", "rtsp://host/live"], tmp_path / "out", model=segment)
    assert [name for name, _ in opened] in (["/dev/video0", "rtsp://host/live"], ["0", "rtsp://host/live"])
    assert len(result.images) == 6
    assert len(list((tmp_path / "out").glob("*_overlay.mp4"))) == 2


def test_clips_in_folders(segment: vocseg.Segmenter, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    make_clip(folder / "a.mp4", frames=2)
    Image.new("RGB", (9, 9)).save(folder / "b.png")
    (folder / "program.ts").write_text("let a = 1;")
    (folder / "c.zip").write_bytes(b"")
    with caplog.at_level("INFO"):
        for _ in range(2):  # the second time, with the results of the first, which are no images
            result = vocseg.predict(folder, folder / "out", model=segment, formats=["mask-video", "overlay"])
            result.check()
            assert [row.name for row in result.images] == ["a.mp4/000001", "a.mp4/000002", "b.png"]
    assert f"folder {folder}: 1 archive passed over ({folder / 'c.zip'}, ...); name archives to read them" in caplog.messages
    (folder / "out").rename(folder / "before")
    assert len(vocseg.predict(folder, folder / "out", model=segment).images) == 3


def test_tiles_of_frames(segment: vocseg.Segmenter, run: Run, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=4, size=(400, 200))
    result = vocseg.predict(clip, tmp_path / "out", model=segment, tile=256, stride=2)
    result.check()
    assert [row.mask.name for row in result.images] == ["000001.png", "000003.png"]
    assert "in 2 tiles" in result.images[0].notes[0]
    assert len(described(tmp_path / "out" / "a_overlay.mp4")[0]) == 2
    again = vocseg.predict(clip, tmp_path / "out", model=segment, tile=256, stride=2, skip_existing=True)
    assert (len(again.images), again.existing) == (0, 2)
    assert (
        run("predict", clip, "--tile", 256, "--end", 0.05, "--out", tmp_path / "verb", "--format", "mask", "--device", "cpu")[0]
        == 0
    )
    assert [path.name for path in (tmp_path / "verb" / "a.mp4").iterdir()] == ["000001.png"]
    fails(run("predict", clip, "--tile", 256, "--format", "mask-video"), "of images in tiles", "not mask-video")


def test_damaged_and_empty_clips(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    make_clip(tmp_path / "whole.mkv", frames=30, sound=False)
    content = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(content[: len(content) * 2 // 3])
    result = vocseg.predict(tmp_path / "cut.mkv", tmp_path / "out", model=segment)
    assert 0 < len(result.images) < 30
    assert len(described(tmp_path / "out" / "cut_overlay.mp4")[0]) == len(result.images)
    (tmp_path / "cut.mp4").write_bytes(make_clip(tmp_path / "whole.mp4", frames=9).read_bytes()[:-2000])
    (tmp_path / "empty.mp4").write_bytes(b"")
    with av.open(str(tmp_path / "sound.mp4"), "w") as out:
        tone = out.add_stream("aac", rate=16000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format="s16", layout="mono")
        samples.sample_rate = 16000
        out.mux(tone.encode(samples))
        out.mux(tone.encode())
    for name, message in (
        ("cut.mp4", "cannot open video"), ("empty.mp4", "cannot open video"), ("sound.mp4", "it has no video"),
    ):  # fmt: skip
        with pytest.raises(vocseg.DataError, match=message) as error:
            vocseg.predict(tmp_path / name, tmp_path / "out", model=segment).check()
        assert "\n" not in str(error.value)
    with pytest.raises(vocseg.DataError, match=r"none of its 30 frames, which end at 1\.\d s, is between start and end"):
        vocseg.predict(tmp_path / "whole.mkv", tmp_path / "out", model=segment, start=99).check()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cut.mkv", "cut_overlay.mp4"]


@pytest.mark.parametrize("pixels", ["yuv420p10le", "yuva420p", "gray", "bgr0"])
@pytest.mark.parametrize("size", [(1, 1), (40, 1), (1, 40), (33, 17)])
def test_pixels_and_sizes_of_all_kinds(segment: vocseg.Segmenter, tmp_path: Path, pixels: str, size: tuple[int, int]) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        video = out.add_stream("ffv1", rate=25, options={"level": "1"} if size[0] == 1 else {})
        video.width, video.height, video.pix_fmt = *size, pixels
        for number in range(2):
            image = np.full((size[1], size[0], 3), 90 * number, np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(video.encode())
    result = vocseg.predict(tmp_path / "a.mkv", tmp_path / "out", model=segment, formats=["mask-video", "overlay"])
    result.check()
    assert [mask.shape for mask in gray_levels(result.images[0].mask)] == [size[::-1]] * 2
    assert len(described(result.images[0].overlay)[0]) == 2


@pytest.mark.parametrize("kind", ["s3", "memory"])
def test_videos_at_a_url(segment: vocseg.Segmenter, kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """They give the files of a disk; what vocseg wrote beside them is passed over."""
    store = request.getfixturevalue("bucket") if kind == "s3" else "memory://clips"
    clips, out, options = tmp_path / "clips", tmp_path / "out", {"formats": ["mask", "overlay", "areas"], "model": segment}
    for number, name in enumerate(("b.mp4", "a/b.mp4")):
        (clips / name).parent.mkdir(parents=True, exist_ok=True)
        upload(make_clip(clips / name, 3 + number, sound=not number, size=(40, 32)), f"{store}/clips/{name}")
    one = vocseg.predict(clips, out, **options)
    two = vocseg.predict(f"{store}/clips/", f"{store}/out", **options)
    two.check()
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*.*") if path.is_file()}
    assert len(files) == 7 + 2 + 1
    assert {found.name: read_bytes(f"{store}/out/{found.name}") for found in find(f"{store}/out")} == files
    assert two.images[-1].image == f"{store}/clips/b.mp4/000003"
    assert [row.name for row in two.images] == [row.name for row in one.images]
    again = vocseg.predict(f"{store}/clips/", f"{store}/out", skip_existing=True, **options)
    assert (len(again.images), again.existing) == (0, 7)
    upload(out / "b_overlay.mp4", f"{store}/clips/b_overlay.mp4")
    (listed := tmp_path / "list.txt").write_text(f"{store}/clips/b.mp4\n{store}/clips/b.mp4\n{store}/clips/none.mp4\n")
    for source, names in (
        (f"{store}/clips", ["a/b.mp4", "b.mp4"]), (f"{store}/clips/*.mp4", ["b.mp4"]), (listed, ["b.mp4", "none.mp4"]),
        (f"{store}/clips/b_overlay.mp4", ["b_overlay.mp4"]),
    ):  # fmt: skip
        assert [item.relative.as_posix() for item in find_images(source)] == names
    failed = vocseg.predict(listed, tmp_path / "other", **options)
    assert [str(error) for error in failed.errors.values()] == [
        f"cannot open video {store}/clips/none.mp4: cannot read {store}/clips/none.mp4: there is no such file, folder or bucket"
    ]
