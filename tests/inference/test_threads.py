"""Threads that share a Segmenter get the masks that each would get alone."""

from __future__ import annotations

import importlib.util
import shutil
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from torch import Tensor

from vocseg.data.image_io import read_image
from vocseg.data.samples import photographs
from vocseg.inference import engines, optimize
from vocseg.inference.segmenter import Segmenter

pytestmark = pytest.mark.slow
THREADS = 8
NEEDED = {"openvino": ["openvino"], "onnxruntime": ["onnx", "onnxscript", "onnxruntime"]}


@pytest.fixture(scope="module")
def images() -> list[Tensor]:
    """Parts of photographs, each of another size."""
    ours = photographs()
    whole = [read_image(ours.folder.image(name)) for name in ours.names][:8]
    return [image[:, : 64 + 24 * number, : 300 - 20 * number] for number, image in enumerate(whole)] + [
        image[:, 100 - 9 * number :, 10 * number : 250 + 3 * number] for number, image in enumerate(whole)
    ]


def require(engine: str) -> None:
    for package in NEEDED.get(engine, ()):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    if engine == "compile" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("no C++ compiler")


def from_threads(segment: Segmenter, images: list[Tensor], rounds: int = 2) -> list[tuple[int, Tensor]]:
    """Masks of all images from each of several threads, which begin together, each at another image."""
    together = Barrier(THREADS)

    def work(thread: int) -> list[tuple[int, Tensor]]:
        together.wait()
        order = [(2 * thread + step) % len(images) for step in range(rounds * len(images))]
        return [(place, segment(images[place]).mask) for place in order]

    with ThreadPoolExecutor(THREADS) as pool:
        return [found for some in pool.map(work, range(THREADS)) for found in some]


@pytest.mark.parametrize("engine", ["torch", "openvino", "onnxruntime", "compile"])
def test_masks_are_those_of_one_thread(images: list[Tensor], engine: str) -> None:
    require(engine)
    # A compilation of more takes a minute, and its way to ONNX a quarter of one.
    name = "two_layer_net" if engine in ("compile", "onnxruntime") else "vocseg-s"

    def made() -> Segmenter:
        torch.manual_seed(0)
        return Segmenter(name, device="cpu", precision="float32", engine=engine)  # type: ignore[arg-type]

    one = made()
    alone = [one(image).mask for image in images]
    # Another one, which is not prepared when the threads begin.
    found = from_threads(made(), images)
    wrong = [float((mask != alone[place]).float().mean()) for place, mask in found]
    assert len(found) == 2 * THREADS * len(images)
    assert max(wrong) == 0


def test_auto_is_prepared_once(images: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    require("openvino")
    prepared: list[str] = []
    original = optimize.make_engine
    monkeypatch.setattr(optimize, "make_engine", lambda name, *rest: prepared.append(name) or original(name, *rest))
    exact = Segmenter(device="cpu", exact=True)
    alone = [exact(image).mask for image in images]
    segment = Segmenter(device="cpu", precision="float32")
    monkeypatch.setattr(engines, "MANY", 1)  # even one image is many
    wrong = [float((mask != alone[place]).float().mean()) for place, mask in from_threads(segment, images, 1)]
    assert prepared == ["torch", "openvino"]
    assert max(wrong) < 0.002  # two engines round differently
