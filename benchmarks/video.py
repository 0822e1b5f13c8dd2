"""Predict a clip: what its overlay keeps of it, and frames a second against the bare forward passes.

    python benchmarks/video.py data --split val_dev
    python benchmarks/video.py data --split val_dev --clip my.mp4 --rounds 5

The clip is made of photographs of the split, over each of which a window moves for 30 frames; it has a variable frame rate
and sound. Bare: as in predict_folder.py, on the same frames in memory, in turn with `predict`.
CPU time is of all threads of the process; unlike the time that passes, it hardly depends on what else runs on the machine.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from fractions import Fraction
from functools import partial
from pathlib import Path

import vocseg
from vocseg.utils.system import machine, tune_process

tune_process()

import av  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from predict_folder import mask_of  # noqa: E402

from vocseg.data.dataset import SplitDataset  # noqa: E402
from vocseg.data.layout import VocFolder  # noqa: E402
from vocseg.data.transforms.geometry import resize_image  # noqa: E402
from vocseg.inference.images import read_ahead  # noqa: E402

BARE = "bare forward passes"
BASE = Fraction(1, 15360)
"""Unit of the times of the clip."""
SHOT = 30
"""Frames of a photograph."""
SOUND = 48_000
"""Samples a second."""


def pans(dataset: SplitDataset, width: int, height: int) -> Iterator[NDArray[np.uint8]]:
    """Yield windows that move over photographs, SHOT of each."""
    for index in range(len(dataset)):
        image = dataset[index].image
        factor = 1.25 * max(height / image.shape[1], width / image.shape[2])
        image = resize_image(image, (round(image.shape[1] * factor), round(image.shape[2] * factor)))
        down, right = image.shape[1] - height, image.shape[2] - width
        for step in range(SHOT):
            top, left = (round(space * step / (SHOT - 1)) for space in (down, right))
            yield image[:, top : top + height, left : left + width].permute(1, 2, 0).contiguous().numpy()


def make_clip(path: Path, frames: Iterator[NDArray[np.uint8]], count: int, width: int, height: int) -> None:
    """Write a clip as phones do: frames late by up to a whole one, and sound."""
    random = np.random.default_rng(0)
    with av.open(str(path), "w") as out:
        video, sound = out.add_stream("libx264", rate=30), out.add_stream("aac", rate=SOUND, layout="stereo")
        video.width, video.height, video.pix_fmt, video.codec_context.time_base = width, height, "yuv420p", BASE
        pts = 0
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(next(frames), format="rgb24")
            frame.pts, frame.time_base = pts, BASE
            out.mux(video.encode(frame))
            pts += 512 if number % 7 else 1024
        out.mux(video.encode())
        noise = random.normal(0, 2000, SOUND * pts * BASE.numerator // BASE.denominator)
        wave = np.stack([8000 * np.sin(np.arange(len(noise)) / 30), noise]).astype(np.int16).T.reshape(1, -1)
        samples = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave), format="s16", layout="stereo")
        samples.sample_rate, samples.pts, samples.time_base = SOUND, 0, Fraction(1, SOUND)
        out.mux(sound.encode(samples))
        out.mux(sound.encode())


def read(path: Path) -> tuple[list[NDArray[np.uint8]], list[float], list[bytes], float]:
    """Return the frames, their times, the packets of the sound, and the duration in seconds."""
    with av.open(str(path)) as container:
        duration = container.duration / 1e6
        frames = [(frame.to_ndarray(format="rgb24"), float(frame.time)) for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        sound = [bytes(packet) for packet in container.demux(audio=0)] if container.streams.audio else []
    return [frame for frame, _ in frames], [time for _, time in frames], sound, duration


def bare(segmenter: vocseg.Segmenter, images: list[torch.Tensor]) -> None:
    threads, segment = segmenter.images_at_once(len(images)), partial(mask_of, segmenter, len(images))
    with closing(read_ahead(segment, images, threads if threads > 1 else 0, each=1, share=True)) as masks:
        for _ in masks:
            pass


def measure(segmenters: dict[str, vocseg.Segmenter], clip: Path, frames: list[NDArray[np.uint8]], rounds: int, out: Path) -> None:
    formats = [["overlay"], ["overlay", "mask"], ["overlay", "mask-video"]]
    images = [torch.from_numpy(frame).permute(2, 0, 1).contiguous() for frame in frames]
    ways: dict[tuple[str, str], Callable[[], object]] = {}
    for engine, segmenter in segmenters.items():
        ways[engine, BARE] = partial(bare, segmenter, images)
        for kinds in formats:
            ways[engine, "predict, " + " and ".join(kinds)] = partial(vocseg.predict, clip, out, model=segmenter, formats=kinds)
    spent: dict[tuple[str, str], list[tuple[float, float]]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, run in ways.items():
            start, cpu = time.perf_counter(), time.process_time()
            run()
            if number:  # the first round warms up
                spent[way].append((time.perf_counter() - start, time.process_time() - cpu))
    print("| engine | | frames a second | of bare | CPU, ms a frame | of bare |\n|---|---|---:|---:|---:|---:|")
    for (engine, name), times in spent.items():
        wall, cpu = (statistics.median(column) / len(frames) for column in zip(*times, strict=True))
        pairs = list(zip(times, spent[engine, BARE], strict=True))
        rate, less = (statistics.median(base[i] / own[i] for own, base in pairs) for i in (0, 1))
        print(f"| {engine} | {name} | {1 / wall:.1f} | {rate:.2f} | {1000 * cpu:.1f} | {less:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--split", default="val_dev")
    parser.add_argument("--model", default="vocseg-s")
    parser.add_argument("--engines", nargs="+", default=["auto", "torch"])
    parser.add_argument("--clip", type=Path, help="a clip of your own")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--size", type=int, nargs=2, default=[500, 376], metavar=("W", "H"))
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    segmenters = {engine: vocseg.Segmenter(arguments.model, device="cpu", engine=engine) for engine in arguments.engines}
    with tempfile.TemporaryDirectory() as folder:
        clip = arguments.clip or Path(folder) / "clip.mp4"
        if arguments.clip is None:
            dataset = SplitDataset(VocFolder.find(arguments.data), arguments.split)
            make_clip(clip, pans(dataset, *arguments.size), arguments.frames, *arguments.size)
        frames, times, sound, duration = read(clip)
        height, width = frames[0].shape[:2]
        print(f"{machine()}, {next(iter(segmenters.values()))}: {len(frames)} frames of {width}x{height}, {duration:.2f} s\n")
        measure(segmenters, clip, frames, arguments.rounds, Path(folder) / "out")
        made = Path(folder) / "out" / f"{clip.stem}_overlay.mp4"
        new_frames, new_times, new_sound, new_duration = read(made)
        furthest = max(abs(one - other) for one, other in zip(times, new_times, strict=True))
        print(f"\noverlay: {len(new_frames)} frames, {new_duration:.2f} s; times of frames differ by at most {furthest:.6f} s;")
        print(f"sound: {len(sound)} packets, {'the same' if new_sound == sound else 'others'};", end=" ")
        print(f"size: {made.stat().st_size / clip.stat().st_size:.2f} of {clip.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
