from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from vocseg.utils.system import keep_memory

keep_memory()
if len(sys.argv) > 1:
    keep_memory(False)

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def step(planes):
    for _ in range(4):
        torch.ones(planes, 1024, 1024)

step(64)
before = faults()
step(60)  # blocks of the very same size may miss the freed ones by the bytes that alignment takes
print(faults() - before)
"""


def faults(*arguments: str, **environment: str) -> int:
    """Page faults of four tensors of 240 MB, one after another, when four larger ones have been there before."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], env=outer | environment, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not os.path.exists("/lib/x86_64-linux-gnu/libc.so.6"), reason="needs glibc")
def test_memory_is_kept_until_told_otherwise() -> None:
    given_back = faults("given back")
    # Where the addresses of a process fall decides whether one of the four misses the freed ones.
    assert faults() < 0.6 * given_back
    assert faults(MALLOC_ARENA_MAX="2") > 0.9 * given_back  # the environment's own settings stand
