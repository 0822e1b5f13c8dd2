"""Lists and streams give, in order, what the images give one at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vocseg.data.image_io import read_image
from vocseg.data.loader import evaluation_workers
from vocseg.data.samples import FOLDER
from vocseg.errors import DataError, InputError
from vocseg.inference.images import read_ahead
from vocseg.inference.segmenter import Segmentation, Segmenter
from vocseg.inference.stream import Loaded

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
def threads() -> Iterator[Callable[[int], None]]:
    """Sets how many threads torch has, until the end of the test."""
    own = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(own)


def test_masks_do_not_depend_on_batches_readers_or_threads(
    images: list[Tensor], threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = Segmenter(device="cpu", precision="bfloat16")
    several = [image[:, : 40 + 8 * (number % 3), :64] for number, image in enumerate(images)]
    alone = [segment(image).mask for image in several]
    for at_once, readers, batch_size in ((1, 1, 8), (2, 1, 1), (2, 3, 8), (4, 2, None)):
        threads(at_once)
        monkeypatch.setattr("vocseg.inference.stream.evaluation_workers", lambda device, readers=readers: readers)
        assert segment.images_at_once(len(several)) == at_once
        masks = [result.mask for result in segment.stream(several, batch_size=batch_size)]
        assert all(torch.equal(mask, one) for mask, one in zip(masks, alone, strict=True))
        assert torch.get_num_threads() == at_once


def test_images_go_one_by_one_where_threads_change_sums(threads: Callable[[int], None]) -> None:
    threads(3)
    for options, at_once in (({"precision": "float32"}, 1), ({"precision": "bfloat16"}, 3), ({"exact": True}, 1)):
        assert Segmenter("two_layer_net", device="cpu", **options).images_at_once(9) == at_once


class Uneven(Segmenter):
    """Takes longer for some images than for others, and fails for dark ones."""

    def segment_loaded(self, batch: Sequence[Loaded], total: int = 1, keep_logits: bool = False) -> list[Segmentation]:
        values = [int(image.pixels[0, 0, 0]) for image in batch]
        time.sleep(0.0005 * (values[0] % 4))
        if 0 in values:
            raise DataError("cannot segment a dark image")
        return [Segmentation(image.pixels, image.pixels[0], self.info) for image in batch]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["good", "good", "good", "dark", "unreadable"]), st.integers(1, 2)), max_size=14),
    st.integers(1, 3), st.integers(1, 4), st.integers(1, 8),
)  # fmt: skip
def test_results_and_errors_keep_the_order(images: list[tuple[str, int]], at_once: int, readers: int, batch_size: int) -> None:
    segment = Uneven("two_layer_net", device="cpu", precision="float32")
    sources: list[Any] = [
        "unreadable" if kind == "unreadable" else torch.full((3, 2, width), 0 if kind == "dark" else 1 + number, dtype=torch.uint8)
        for number, (kind, width) in enumerate(images)
    ]
    good = [number for number, (kind, _) in enumerate(images) if kind == "good"]
    bad = [number for number in range(len(images)) if number not in good]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vocseg.inference.stream.evaluation_workers", lambda device: readers)
        patch.setattr(segment, "images_at_once", lambda total: at_once)
        stream = segment.stream(sources, batch_size=batch_size, on_error="skip")
        for number in good:
            assert int(next(stream).mask[0, 0]) == 1 + number
            keys = [Path(sources[index]) if isinstance(sources[index], str) else index for index in bad if index < number]
            assert list(stream.errors) == list(dict.fromkeys(keys))
        assert list(stream) == []
        stream = segment.stream(sources, batch_size=batch_size)
        for number in [number for number in good if not bad or number < bad[0]]:
            assert int(next(stream).mask[0, 0]) == 1 + number
        with pytest.raises(DataError if bad else StopIteration):
            next(stream)


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


def test_threads_share_those_of_torch(threads: Callable[[int], None]) -> None:
    threads(6)

    def number(_: int) -> int:
        time.sleep(0.002)
        return torch.get_num_threads()

    assert list(read_ahead(number, range(9), 3, share=True)) == [2] * 9
    assert torch.get_num_threads() == 6
    assert list(read_ahead(number, range(2), 2)) == [6, 6]
