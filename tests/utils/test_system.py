from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from vocseg.errors import SettingError
from vocseg.utils import system
from vocseg.utils.system import (
    autocast,
    computes_bfloat16,
    cores,
    find_device,
    find_precision,
    keep_freed_memory,
    machine,
    peak_memory,
    resident_memory,
    tune_process,
)
from vocseg.utils.text import counted

CPU = torch.device("cpu")


def test_one_of_several_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("cuda:1") == find_device(torch.device("cuda", 1)) == torch.device("cuda", 1)
    for name, hint in (("cuda:2", "it has cuda"), ("gpu", "a GPU is called cuda")):
        with pytest.raises(SettingError, match=f"no device '{name}'; .*{hint}"):
            find_device(name)


def test_devices() -> None:
    assert find_device("cpu") == CPU
    assert find_device("auto").type in ("cuda", "mps", "cpu")
    assert (find_device("auto").type == "cuda") == torch.cuda.is_available()
    with pytest.raises(SettingError, match=r"no device 'tpu'; it has .*cpu"):
        find_device("tpu")


@pytest.mark.parametrize(
    ("avx512", "amx", "expected"),
    [(True, False, torch.bfloat16), (False, True, torch.bfloat16), (False, False, torch.float32), (None, None, torch.float32)],
)
def test_automatic_precision_is_the_processors(
    avx512: bool | None, amx: bool | None, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system.platform, "machine", lambda: "x86_64")
    for name, value in (("_is_avx512_bf16_supported", avx512), ("_is_amx_tile_supported", amx)):
        if value is None:  # a version of torch without it
            monkeypatch.delattr(torch.cpu, name, raising=False)
        else:
            monkeypatch.setattr(torch.cpu, name, lambda value=value: value, raising=False)
    assert find_precision("auto", CPU) == expected


@pytest.mark.parametrize(("features", "expected"), [("fp asimd bf16 i8mm", True), ("fp asimd nobf16", False)])
def test_precision_on_arm(features: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(Path, "read_text", lambda self, encoding: f"processor\t: 0\nFeatures\t: {features}\n")
    assert computes_bfloat16("cpu") is expected


def test_precisions_by_name() -> None:
    assert find_precision("float32", CPU) == torch.float32
    assert find_precision("bfloat16", CPU) == torch.bfloat16
    assert find_precision("float16", torch.device("cuda")) == torch.float16
    with pytest.raises(SettingError, match="float16 needs a GPU"):
        find_precision("float16", CPU)
    with pytest.raises(SettingError, match="unknown precision 'double'"):
        find_precision("double", CPU)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float16])
def test_autocast_computes_in_the_precision(precision: torch.dtype) -> None:
    layer = torch.nn.Linear(3, 3)
    with autocast(CPU, precision):
        assert layer(torch.ones(1, 3)).dtype == precision
    assert layer.weight.dtype == torch.float32


def test_memory_of_this_process() -> None:
    resident, peak = resident_memory(), peak_memory()
    if resident is None or peak is None:
        pytest.skip("needs Linux's /proc")
    assert 0 < resident <= peak
    block = torch.ones(2**26)  # 256 MiB
    assert (peak_memory() or 0) >= min(peak, resident + block.nbytes // 2)
    assert (resident_memory() or 0) > resident // 2


@pytest.mark.parametrize(
    ("text", "expected"), [("max 100000", 8), ("150000 100000", 2), ("20000 100000", 1), ("9900000 100000", 8), ("", 8)]
)
def test_a_containers_share_of_the_processors(text: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr("vocseg.utils.system.CPU_SHARE", tmp_path / "cpu.max")
    assert cores() == 8
    (tmp_path / "cpu.max").write_text(text)
    assert cores() == expected


def test_cores_and_machine() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
    assert f"{counted(torch.get_num_threads(), 'thread')}, torch {torch.__version__}" in machine()


class FakeLibrary:
    def __init__(self, calls: list[tuple[int, int]]) -> None:
        self.mallopt = lambda parameter, value: calls.append((parameter, value))


@pytest.mark.parametrize(
    ("environment", "changed"), [({}, True), ({"MALLOC_ARENA_MAX": "2"}, False), ({"GLIBC_TUNABLES": "x"}, False)]
)
def test_freed_memory_is_kept_unless_the_environment_has_its_own_settings(
    environment: Mapping[str, str], changed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(system.os, "environ", dict(environment))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: FakeLibrary(calls))
    keep_freed_memory()
    kept = dict(calls)
    calls.clear()
    keep_freed_memory(False)
    usual = dict(calls)
    if changed:
        # No block is mapped on its own, the heap never shrinks; and back. The numbers are those of glibc's malloc.h.
        assert (kept[-4], kept[-1]) == (0, -1)
        assert (usual[-4], usual[-1]) == (65536, 2**26)
        assert kept.keys() == usual.keys()
    else:
        assert not kept
        assert not usual


def test_a_c_library_without_mallopt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    keep_freed_memory()


def test_tuning_before_torch_is_imported_lets_threads_sleep(tmp_path: Path) -> None:
    program = """
import os, sys
import vocseg
vocseg.tune_process()
print(os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules)
"""

    def spin(**environment: str) -> str:
        outer = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
        command = [sys.executable, "-c", program]
        return subprocess.run(command, env=outer | environment, capture_output=True, text=True, check=True).stdout.strip()

    assert spin() == "2000 False"
    assert spin(GOMP_SPINCOUNT="7") == "7 False"
    assert spin(OMP_WAIT_POLICY="ACTIVE") == "None False"


def test_tuning_after_torch_is_imported_leaves_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(system, "keep_freed_memory", lambda: None)
    tune_process()
    assert "GOMP_SPINCOUNT" not in os.environ
