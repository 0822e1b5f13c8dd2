"""The machine: its devices, its precision, its memory and threads.

torch is imported when a function needs it, since :func:`tune_process` works best before that.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vocseg.errors import SettingError
from vocseg.utils.arguments import checked
from vocseg.utils.text import counted

if TYPE_CHECKING:
    import torch

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""What asks a process to end, and may go to its whole group."""

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
MAX_PIXELS = 100_000_000
"""Pixels that an image or mask may have, unless another limit is set."""
CPU_SHARE = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds of processor time that a container may use in a period, and the period (cgroup v2)."""
_limits: dict[str, int] = {}


def find_device(name: str | torch.device) -> torch.device:
    """Return the device of a ``--device`` value (``auto`` prefers a GPU); raise SettingError if there is none."""
    import torch

    name = str(name)
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    present = [kind for kind, there in available.items() if there]
    numbered = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if name not in ("auto", *present, *numbered):
        hint = "; a GPU is called cuda" if name.startswith("gpu") else ""
        raise SettingError(f"this machine has no device '{name}'; it has {', '.join(present)}{hint}")
    return torch.device(present[0] if name == "auto" else name)


def find_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype of a ``--precision`` value.

    ``auto`` is bfloat16 when the processor or the GPU computes in it (AVX-512 BF16, AMX or ARM BF16 on a CPU), float32
    otherwise. It depends on nothing else, so a machine always gives the same answer. Raises SettingError for float16 on a
    CPU.
    """
    import torch

    if name == "auto":
        return torch.bfloat16 if computes_bfloat16(device.type) else torch.float32
    if name == "float16" and device.type == "cpu":
        raise SettingError("precision float16 needs a GPU; use bfloat16 or float32 on a CPU")
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in dtypes:
        raise SettingError(f"unknown precision '{name}'; use one of: auto, {', '.join(dtypes)}")
    return dtypes[name]


def computes_bfloat16(kind: str) -> bool:
    """Whether a device of this ``kind`` (cpu, cuda or mps) has instructions for bfloat16."""
    import torch

    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind != "cpu":
        return False
    if platform.machine().lower() in ("aarch64", "arm64"):
        return any("bf16" in features.split() for features in _proc_values("cpuinfo", "Features"))
    # Private functions of torch, absent in some of its versions.
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(check is not None and check() for check in checks)


def _proc_values(file: str, field: str) -> list[str]:
    """List the values of a field in a file of Linux's /proc; empty on other systems."""
    try:
        lines = Path("/proc", file).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [line.split(":", 1)[1].strip() for line in lines if line.startswith(field) and ":" in line]


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """Return a context in which networks compute with ``precision``; their weights stay float32."""
    import torch

    reduced = precision in (torch.bfloat16, torch.float16)
    return torch.autocast(device.type, precision if reduced else torch.bfloat16, enabled=reduced)


def tune_process() -> None:
    """Tune this process for tensors on a CPU: keep freed memory, and let idle threads sleep soon.

    Changes the allocator (:func:`keep_freed_memory`) and, when torch is not imported yet, sets the environment variable
    ``GOMP_SPINCOUNT``: OpenMP's idle threads, torch's, otherwise spin for milliseconds in which OpenVINO or other work could
    run. The environment's own ``OMP_WAIT_POLICY``, ``GOMP_SPINCOUNT`` and ``MALLOC_...`` stand. The whole process is
    affected, so the library never calls this by itself; the command line does. Call it first in a script of yours.

    >>> import vocseg
    >>> vocseg.tune_process()
    """
    keep_freed_memory()
    if "torch" not in sys.modules and not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "2000"


def keep_freed_memory(keep: bool = True) -> None:
    """Have the C library keep freed memory for the next tensors, or go back to its usual behavior.

    glibc maps large blocks afresh each time and gives them back when they are freed; the kernel then clears every page again,
    which can take a third of a training step. With another C library, or when the environment sets ``MALLOC_...`` or
    ``GLIBC_TUNABLES``, nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    for parameter, (tuned, usual) in _MALLOPT.items():
        mallopt(parameter, tuned if keep else usual)


_MALLOPT = {
    -4: (0, 65536),  # M_MMAP_MAX: blocks that may be mapped on their own
    -1: (-1, 2**26),  # M_TRIM_THRESHOLD: free bytes at the heap's end from which they are given back; -1: never
    -2: (2**26, 2**17),  # M_TOP_PAD: bytes requested beyond what is needed
    -3: (2**25, 2**25),  # M_MMAP_THRESHOLD: bytes from which a block is mapped
}
"""glibc's parameters: tuned, and as they settle by themselves in a process that has freed large blocks (malloc/malloc.c)."""


def max_pixels(default: int = MAX_PIXELS) -> int:
    """Return how many pixels an image or mask may have, ``default`` unless a limit is set; larger ones are not decoded."""
    return _limits.get("pixels", default)


@checked
def set_max_pixels(pixels: int) -> None:
    """Set how many pixels an image or mask may have (at first 100 million), here and in loader processes started later.

    Larger ones are refused before they are decoded. Raises SettingError unless ``pixels`` is a positive number.

    >>> import vocseg
    >>> vocseg.set_max_pixels(100_000_000)
    """
    if pixels < 1:
        raise SettingError(f"max_pixels is {pixels}, not a positive number")
    _limits["pixels"] = pixels


def cores() -> int:
    """Return how many processors this process may use, at least 1; a container's share, rounded up, if it has one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = map(int, CPU_SHARE.read_text(encoding="utf-8").split())
    except (OSError, ValueError):  # another system, or no limit: "max 100000"
        return allowed
    return max(1, min(allowed, -(-quota // max(1, period))))


def resident_memory() -> int | None:
    """Return the bytes of memory that this process holds; None on other systems than Linux."""
    return next((1024 * int(value.split()[0]) for value in _proc_values("self/status", "VmRSS")), None)


def peak_memory() -> int | None:
    """Return the most bytes of memory that this process has held; None on other systems than Linux."""
    # The peak that getrusage reports is inherited from the parent process; this one is not.
    return next((1024 * int(value.split()[0]) for value in _proc_values("self/status", "VmHWM")), None)


def processor() -> str:
    """Return the name and the number of the processors, as in ``AMD EPYC 9355 x 2``."""
    names = _proc_values("cpuinfo", "model name")
    return f"{names[0]} x {len(names)}" if names else f"{platform.processor() or platform.machine()} x {os.cpu_count()}"


def machine() -> str:
    """Describe in one line what a measurement ran on: processor, threads, torch version."""
    import torch

    return f"{processor()}, {counted(torch.get_num_threads(), 'thread')}, torch {torch.__version__}"
