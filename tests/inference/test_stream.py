"""Lists and streams give, in order, what the images give one at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vocseg.data.image_io import read_image
from vocseg.data.loader import evaluation_workers
from vocseg.data.samples import FOLDER
from vocseg.errors import DataError, InputError
from vocseg.inference.images import read_ahead
from vocseg.inference.segmenter import Segmenter

PHOTOGRAPHS = FOLDER / "JPEGImages"


@pytest.fixture(scope="module")
def segment() -> Segmenter:
    return Segmenter(device="cpu", precision="float32")


@pytest.fixture(scope="module")
def images() -> list[Tensor]:
    """Parts of photographs, of three sizes in turn."""
    whole = [read_image(path) for path in sorted(PHOTOGRAPHS.iterdir())]
    sizes = [(96, 128), (128, 96), (64, 150)]
    return [
        whole[number % len(whole)][:, 8 * number :, 9 * number :][:, : sizes[number % 3][0], : sizes[number % 3][1]]
        for number in range(10)
    ]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("model", ["vocseg-s", "deeplabv3_mobilenet_v3_large"])
def test_batches_are_exactly_one_at_a_time(images: list[Tensor], model: str, precision: str) -> None:
    segment = Segmenter(model, weights=None if model == "vocseg-s" else "none", device="cpu", precision=precision)
    alone = [segment(image) for image in images]
    for batch_size in (None, 1, 3, 64):
        together = segment(images, batch_size=batch_size)
        assert [tuple(result.mask.shape) for result in together] == [tuple(image.shape[1:]) for image in images]
        assert all(torch.equal(one.mask, other.mask) for one, other in zip(alone, together, strict=True))
        assert all(torch.equal(result.image, image) for result, image in zip(together, images, strict=True))
    same = torch.stack([images[0], images[3], images[0]])
    values = segment.low_res_logits(same).values
    assert torch.equal(values[0], values[2])
    assert torch.equal(values[1], segment.low_res_logits(same[1:2]).values[0])


def test_lists_of_all_kinds_of_images(segment: Segmenter) -> None:
    path = PHOTOGRAPHS / "chelsea.jpg"
    pixels = read_image(path)
    results = segment((path, str(path), pixels, pixels.permute(1, 2, 0).numpy()))
    assert [result.source for result in results] == [path, path, None, None]
    assert all(torch.equal(result.mask, results[0].mask) for result in results)
    assert segment([]) == []


def test_folders_patterns_and_iterables() -> None:
    segment = Segmenter("two_layer_net", device="cpu")
    names = ["astronaut.jpg", "camera.jpg", "chelsea.jpg", "rocket.jpg"]
    paths = [PHOTOGRAPHS / name for name in names]

    def generated() -> Iterator[Path]:
        yield from paths

    for sources in (PHOTOGRAPHS, str(PHOTOGRAPHS), PHOTOGRAPHS / "*.jpg", paths, generated()):
        assert [result.source for result in segment.stream(sources, batch_size=2)] == paths
    with pytest.raises(InputError, match="no image or folder"):
        segment.stream(PHOTOGRAPHS / "none.jpg")


def test_a_stream_is_read_as_it_is_used(segment: Segmenter, images: list[Tensor]) -> None:
    read = 0

    def endless() -> Iterator[Tensor]:
        nonlocal read
        while True:
            read += 1
            yield images[read % len(images)]

    stream = segment.stream(endless())
    ahead = 2 * max(1, evaluation_workers(segment.device)) + 1
    for count in range(1, 4):
        next(stream)
        assert count <= read <= count + ahead
    stream.close()
    assert list(stream) == []


@pytest.fixture
def broken(tmp_path: Path) -> list[Path]:
    paths = [PHOTOGRAPHS / "camera.jpg", tmp_path / "bad.jpg", PHOTOGRAPHS / "chelsea.jpg", tmp_path / "none.jpg"]
    paths[1].write_bytes(paths[0].read_bytes()[:999])
    return paths


def test_an_error_comes_after_the_results_before_it(segment: Segmenter, broken: list[Path]) -> None:
    stream = segment.stream(broken, batch_size=8)  # the first image waits for others of its size
    assert next(stream).source == broken[0]
    with pytest.raises(DataError, match=r"bad\.jpg"):
        next(stream)
    with pytest.raises(DataError, match=r"bad\.jpg"):
        segment(broken)


def test_errors_can_be_skipped(segment: Segmenter, broken: list[Path]) -> None:
    stream = segment.stream([*broken, "text.jpg", 7], on_error="skip")
    assert [result.source for result in stream] == [broken[0], broken[2]]
    assert list(stream.errors) == [broken[1], broken[3], Path("text.jpg"), 5]
    assert all(isinstance(error, DataError) for error in stream.errors.values())


def test_reading_ahead_keeps_the_order_and_is_bounded() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    def slow(number: int) -> tuple[int, str]:
        time.sleep(0.002 * (number % 3))
        return number, threading.current_thread().name

    results = read_ahead(slow, items(), 3)
    found = [next(results) for _ in range(30)]
    assert [number for number, _ in found] == list(range(30))
    assert len({name for _, name in found}) > 1
    assert taken <= 30 + 2 * 3 + 1
    results.close()  # type: ignore[attr-defined]
    assert list(read_ahead(slow, iter([4, 5]), 0)) == [(4, threading.current_thread().name), (5, threading.current_thread().name)]
