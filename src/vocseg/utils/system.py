"""Where and how precisely to compute."""

from __future__ import annotations

import copy
import ctypes
import os
import platform
from functools import cache, partial
from typing import Literal

import torch
from torch import nn

from vocseg.errors import SettingError

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16"]

FASTER = 1.3
"""How many times faster bfloat16 must be for ``auto`` to take it: below that, noise would decide."""


def find_device(name: str) -> torch.device:
    """The device of a ``--device`` value; SettingError where the machine has none such."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, there in available.items() if there)
    if not available.get(name, False):
        raise SettingError(f"this machine has no device '{name}'; it has {', '.join(k for k, there in available.items() if there)}")
    return torch.device(name)


def find_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype of a ``--precision`` value: ``auto`` is bfloat16 where the device is measurably faster with it."""
    if name == "auto":
        return torch.bfloat16 if _bfloat16_is_faster(device.type) else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """Context in which networks compute with ``precision``; their weights stay float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16)


@cache
def _bfloat16_is_faster(kind: str) -> bool:
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind != "cpu":
        return False
    from vocseg.ops.choices import choices, race  # which needs this module

    @torch.inference_mode()
    def measure() -> dict[str, float]:
        # One middling convolution: processors and library versions differ too much to go by name.
        layer = nn.Conv2d(256, 256, 3, padding=1).to(memory_format=torch.channels_last)
        features = torch.zeros(1, 256, 32, 32).to(memory_format=torch.channels_last)
        kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16}
        seconds = race({name: partial(copy.deepcopy(layer).to(kind), features.to(kind)) for name, kind in kinds.items()}, 9)
        return seconds | {"bfloat16": FASTER * seconds["bfloat16"]}

    return choices.find("precision", ["float32", "bfloat16"], measure) == "bfloat16"


def keep_memory(keep: bool = True) -> None:
    """Have the C library keep memory that tensors leave for those that follow, or go back to its own ways.

    glibc maps large blocks afresh each time and gives them back when they are freed; the kernel then clears every page again,
    which can take a third of a training step. Elsewhere, or where the environment has settings of its own (MALLOC_...), nothing
    is done. It is for programs, not libraries: the whole process is concerned.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    for parameter, (kept, given) in _MALLOPT.items():
        mallopt(parameter, kept if keep else given)


_MALLOPT = {
    -4: (0, 65536),  # M_MMAP_MAX: blocks that may be mapped on their own
    -1: (-1, 2**26),  # M_TRIM_THRESHOLD: bytes free at the heap's end from which they are given back; -1: never
    -2: (2**26, 2**17),  # M_TOP_PAD: bytes to ask for beyond what is needed
    -3: (2**25, 2**25),  # M_MMAP_THRESHOLD: bytes from which a block is mapped
}
"""glibc's parameters: kept, and as its own ways settle in a process that has freed large blocks (malloc/malloc.c)."""


def processor() -> str:
    """Name and number of the processors."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        return f"{names[0]} x {len(names)}"
    except (OSError, IndexError):
        return f"{platform.processor() or platform.machine()} x {os.cpu_count()}"


def machine() -> str:
    """What figures were measured on, in a line."""
    return f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
