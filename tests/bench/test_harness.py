from __future__ import annotations

import os
from functools import partial

import pytest

from bench.runners import MEGABYTE, allocating, ending
from vocseg.bench import harness
from vocseg.bench.harness import Case, Timing
from vocseg.errors import ModelError


def timing(peer: str, precision: str, *seconds: float) -> Timing:
    return Timing(Case(peer, precision, partial(allocating, 1)), 1.0, seconds)


@pytest.mark.parametrize(("quick", "once"), [(0.0, ["a"]), (60.0, ["a", "a"])])
def test_cases_run_in_turn(quick: float, once: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "QUICK", quick)
    order: list[str] = []

    def maker(name: str) -> harness.Runner:
        order.append(f"make {name}")
        return lambda: order.append(name)

    timings = harness.run([Case(name, "float32", partial(maker, name)) for name in "ab"], 3)
    one, other = once, ["b"] * len(once)
    assert order == ["make a", "a", "a", "make b", "b", "b"] + (one + other) * 3
    assert [len(row.seconds) for row in timings] == [3, 3]
    assert [row.case.name for row in timings] == ["a float32", "b float32"]


def test_report() -> None:
    timings = [
        timing("vocseg", "bfloat16", 1, 1, 2),
        timing("vocseg", "float32", 2, 2, 4),
        timing("openvino", "float32", 3, 3, 6),
        timing("openvino", "bfloat16", 0.5, 0.5, 1),
        timing("tflite", "uint8", 4, 4, 8),
    ]
    values = harness.report(timings, [2_000_000, None, None, None, None], images=4)
    assert values["ratios"] == {"openvino": 0.5, "tflite": 4.0}
    assert values["same_precision"] == {"openvino float32": 1.5, "openvino bfloat16": 0.5}
    assert values["results"][0] == {
        "name": "vocseg bfloat16", "p50_ms": 1000, "p95_ms": 2000, "images_per_second": 4,
        "prepare_s": 1, "peak_mb": 2, "ratio": 1,
    }  # fmt: skip


def test_p95_is_not_exceeded_by_95_percent() -> None:
    assert timing("a", "b", *range(100, 0, -1)).p95 == 95
    assert timing("a", "b", *range(1, 21)).p95 == 19
    assert timing("a", "b", 5).p95 == 5


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="only Linux tells")
def test_peak_memory_is_that_of_the_case_alone() -> None:
    ballast = os.urandom(MEGABYTE) * 300
    [found] = harness.measure_memory([Case("a", "b", partial(allocating, 200))])
    assert found is not None
    assert 200 * MEGABYTE <= found < 250 * MEGABYTE
    assert len(ballast) > found


def test_a_process_that_dies() -> None:
    with pytest.raises(ModelError, match="the process that runs a b was killed"):
        harness.measure_memory([Case("a", "b", ending)])
