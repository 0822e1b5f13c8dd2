"""A forked process gets its masks from torch, or an error at once; it never waits for threads that it does not have."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys, torch, vocseg
torch.set_num_threads(2)
image = torch.randint(0, 256, (400, 600, 3), dtype=torch.uint8).numpy()  # torch's threads bring its channels to the front
segment = vocseg.Segmenter(device="cpu", precision="float32", engine=sys.argv[1])
mask = segment(image).mask
if os.fork():
    os.wait()
else:
    for use in (lambda: segment(image), lambda: segment([image])[0], lambda: next(segment.stream([image] * 300))):
        try:
            print(float((use().mask == mask).float().mean()) > 0.999, flush=True)  # one thread rounds otherwise
        except vocseg.ModelError as error:
            print("spawn" in str(error), flush=True)
    one = vocseg.Segmenter(device="cpu", precision="float32", engine=sys.argv[1])
    print(float((one(image).mask == mask).float().mean()) > 0.999, flush=True)
    os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("engine", ["auto", "torch", "openvino"])
def test_a_forked_process_answers_or_fails_at_once(engine: str) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    done = subprocess.run([sys.executable, "-c", PROGRAM, engine], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["True"] * 4, done.stderr


LOCKED = """
import os, threading, torch, vocseg
from vocseg.inference import engines
image = torch.zeros(3, 40, 50, dtype=torch.uint8)
vocseg.Segmenter("two_layer_net", device="cpu")(image)
held, done = threading.Event(), threading.Event()

def hold():
    with engines.CONVERTING:
        held.set()
        done.wait()

threading.Thread(target=hold, daemon=True).start()
held.wait()
if child := os.fork():
    os.waitpid(child, 0)
else:
    print(vocseg.Segmenter("two_layer_net", device="cpu")(image).mask.shape, flush=True)
    os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_another_thread_prepares_an_engine() -> None:
    done = subprocess.run([sys.executable, "-c", LOCKED], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "torch.Size([40, 50])\n", done.stderr
