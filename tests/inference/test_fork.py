"""A Segmenter in a forked process fails at once, where torch or an engine would wait for threads that are not there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys, torch, vocseg
torch.set_num_threads(2)
image = torch.randint(0, 256, (3, 200, 300), dtype=torch.uint8)
segment = vocseg.Segmenter(device="cpu", precision="float32", engine=sys.argv[1])
mask = segment(image).mask
if os.fork():
    os.wait()
else:
    for use in (lambda: segment(image), lambda: vocseg.Segmenter(device="cpu")):
        try:
            use()
        except vocseg.ModelError as error:
            print(error, flush=True)
    torch.set_num_threads(1)  # as torch's own loader processes do
    one = vocseg.Segmenter(device="cpu", precision="float32", engine=sys.argv[1])
    print(float((one(image).mask == mask).float().mean()) > 0.999, flush=True)
    os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_a_forked_process_fails_at_once(engine: str) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    done = subprocess.run([sys.executable, "-c", PROGRAM, engine], capture_output=True, text=True, timeout=60, check=False)
    message = "a Segmenter does not work after fork; start processes with multiprocessing's spawn method"
    assert done.stdout.splitlines() == [message, message, "True"], done.stderr


LOCKED = """
import os, threading, torch, vocseg
from vocseg.inference import engines
torch.set_num_threads(1)
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
