"""The simulation of many workers, where it can be worked out by hand."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from benchmarks.scripts import load

script = load("scale_model")
PLAIN = script.Model(
    read_ms=0.0, decode_ms=0.0, forward_ms=10.0, encode_ms=0.0, id_us=0.0, start_s=0.0, spread=0.0, slow_share=0.0,
    hours_to_failure=1e12, gets=1e9, puts=1e9, list_ms=0.0, store_gb=1e9, worker_gb=1e9,
)  # fmt: skip
"""A worker computes 100 images a second; there are no faults, and nothing to list or to start."""


@pytest.mark.parametrize("workers", [1, 7, 100])
@pytest.mark.parametrize("source", ["objects", "packed"])
def test_without_faults_and_limits_workers_add_up(workers: int, source: str) -> None:
    run = script.simulate(PLAIN, 1e6, workers, source)
    assert run.seconds == pytest.approx(1e6 * 0.01 / workers)
    assert run.bottleneck == ("compute", pytest.approx(1))
    assert run.failures == 0


@pytest.mark.parametrize(
    ("limits", "name", "rate"),
    [
        ({"gets": 500}, "requests that read", 500),
        ({"puts": 40, "prefixes": 5}, "requests that write", 200),
        ({"store_gb": 0.1, "image_bytes": 9e5, "mask_bytes": 1e5}, "bandwidth", 100),
    ],
)
def test_a_store_serves_no_more_than_its_limit(limits: dict[str, float], name: str, rate: float) -> None:
    run = script.simulate(replace(PLAIN, **limits), 1e6, 50, "objects")
    assert 1e6 / run.seconds == pytest.approx(rate)
    assert run.bottleneck == (name, pytest.approx(1 - rate / 5000))


def test_packed_images_take_fewer_requests() -> None:
    model = replace(PLAIN, gets=500)
    assert 1e6 / script.simulate(model, 1e6, 50, "packed").seconds == pytest.approx(5000)


def test_listing_slow_shards_and_deaths_cost_what_they_should() -> None:
    listing = script.simulate(replace(PLAIN, id_us=1.0), 1e6, 10, "packed")
    assert listing.seconds == pytest.approx(1000 + 4 * 1.0)
    slow = script.simulate(replace(PLAIN, slow_share=1.0, slow_factor=3.0), 1e6, 10, "packed")
    assert slow.seconds == pytest.approx(3000)
    dying = script.simulate(replace(PLAIN, hours_to_failure=0.05, restart_s=60.0), 1e6, 100, "packed")
    assert dying.failures == pytest.approx(1e4 / 180 * (1 + 60 / 180), rel=0.3)  # one in 180 s of work, or of restarts
    assert dying.spent["compute"] == pytest.approx(1e4)  # nothing is computed twice
    assert dying.dollars == pytest.approx(100 * dying.seconds / 3600 * 0.04 + 1e6 * (100e3 / 8e6 * 0.0004 + 0.005) / 1000)


def test_the_script_prints_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["scale_model", "--images", "0", "--counts", "1e6", "1e8", "--workers", "10"])
    script.main()
    rows = capsys.readouterr().out.splitlines()
    assert [row.split(" | ")[2] for row in rows[-5:]] == ["objects", "packed", "objects", "packed", "parts"]
    assert script.measure(None, "", 1)["forward_ms"] > 0
