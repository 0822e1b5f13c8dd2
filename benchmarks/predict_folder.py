"""Time ``predict`` on a folder against the bare forward passes of the same network, in turn, in one process.

    python benchmarks/predict_folder.py data/VOCdevkit/VOC2012/JPEGImages --images 300
    python benchmarks/predict_folder.py data/VOCdevkit/VOC2012/JPEGImages --memory 10000

Bare: decoded images, as many at once as ``predict`` has, each in its thread with an equal share of torch's threads; of each
only the network and the arg max of its logits. So what is added is decoding, encoding, writing, and handing over. CPU time
is of all threads of the process; unlike the time that passes, it hardly depends on what else runs on the machine.

``--memory N`` predicts N images, those of the folder over and over, three of four with sides of a quarter, and prints the
memory that the process holds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import vocseg
from vocseg.utils.system import machine, peak_memory, resident_memory, tune_process

tune_process()

import torch  # noqa: E402  (tuned before)
from torch import Tensor  # noqa: E402

from vocseg.data.image_io import read_image  # noqa: E402
from vocseg.inference.images import read_ahead  # noqa: E402
from vocseg.inference.segmenter import Segmenter  # noqa: E402
from vocseg.inference.sinks import MaskSink  # noqa: E402
from vocseg.inference.sources import Item  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder of JPEG files")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--memory", type=int, metavar="N")
    arguments = parser.parse_args()
    segmenter = Segmenter(device="cpu", engine=arguments.engine, precision=arguments.precision)
    files = sorted(arguments.folder.glob("*.jpg"))[: arguments.images]
    if arguments.memory:
        memory(segmenter, files, arguments.memory)
    else:
        ratios(segmenter, files, arguments.rounds)


def ratios(segmenter: Segmenter, files: Sequence[Path], rounds: int) -> None:
    images = [read_image(file) for file in files]
    threads = segmenter.images_at_once(len(files))
    ways: dict[str, Callable[[str], object]] = {
        "bare forward passes": lambda out: bare(segmenter, images, threads if threads > 1 else 0),
        "one at a time": lambda out: bare(segmenter, images, 0),
        "predict, masks": lambda out: vocseg.predict(files, out, model=segmenter, overlay=False),
        "predict, masks and overlays": lambda out: vocseg.predict(files, out, model=segmenter),
    }
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, run in ways.items():
            with tempfile.TemporaryDirectory() as out:
                start, cpu = time.perf_counter(), time.process_time()
                run(out)
                if number:  # the first round warms up
                    spent[name].append((time.perf_counter() - start, time.process_time() - cpu))
    print(f"{machine()}; {segmenter}; {len(files)} images, {threads} at once; medians of {rounds} rounds")
    first = spent["bare forward passes"]
    for name, times in spent.items():
        wall, cpu = (1000 * statistics.median(column) / len(files) for column in zip(*times, strict=True))
        ratio, of_cpu = (statistics.median(own[i] / bare[i] for own, bare in zip(times, first, strict=True)) for i in (0, 1))
        print(f"{name:28s} {wall:6.1f} ms an image, {ratio:.2f} x bare; CPU {cpu:6.1f} ms, {of_cpu:.2f} x")


def bare(segmenter: Segmenter, images: Sequence[Tensor], threads: int) -> None:
    """Segment decoded images in threads; keep nothing."""
    segment = partial(mask_of, segmenter, len(images))
    with closing(read_ahead(segment, images, threads, each=1, share=True)) as masks:
        for _ in masks:
            pass


def mask_of(segmenter: Segmenter, total: int, image: Tensor) -> Tensor:
    return segmenter.low_res_logits(image[None], total).classes()[0]


def memory(segmenter: Segmenter, files: Sequence[Path], count: int) -> None:
    start = time.perf_counter()

    class Watched(MaskSink):
        """Writes all masks over each other, and prints the memory now and then."""

        written = 0

        def file(self, item: Item) -> Path:
            return self.out / "mask.png"

        def write(self, result: vocseg.Segmentation, item: Item) -> None:
            super().write(result, item)
            Watched.written += 1
            if Watched.written in (1, 100, 1000) or Watched.written % 2000 == 0:
                held, peak = ((value or 0) / 1e6 for value in (resident_memory(), peak_memory()))
                seconds = time.perf_counter() - start
                print(f"{Watched.written:6d} images: {held:6.0f} MB, peak {peak:.0f} MB, {seconds:.0f} s", flush=True)

    def items() -> Iterator[Item]:
        for number in range(count):
            file = files[number % len(files)]
            yield Item(file, Path(f"{number}.jpg"), read=partial(quarter, file) if number % 4 else None)

    print(machine(), segmenter, f"{torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as out:
        vocseg.predict(list(items()), out, model=segmenter, formats=[Watched])


def quarter(file: Path) -> Tensor:
    return read_image(file)[:, ::4, ::4].contiguous()


if __name__ == "__main__":
    main()
