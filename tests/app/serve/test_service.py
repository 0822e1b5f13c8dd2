"""The queue: bounded, in order, left by those who go, and emptied at the end."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

import vocseg
from app.serve.hostile import PNG
from vocseg.app.serve.limits import Limits
from vocseg.app.serve.service import CLIENT_GONE, Service, Upload

LIMITS = Limits(workers=1, threads=1, queue=2, timeout=20.0, max_bytes=1 << 20, max_pixels=1 << 20)


class Held:
    """A Segmenter whose network waits until it is let go."""

    def __init__(self, segmenter: vocseg.Segmenter) -> None:
        self._segmenter, self.info, self.device = segmenter, segmenter.info, segmenter.device
        self.began, self.may_go = threading.Semaphore(0), threading.Event()
        self.count = 0

    def segment_loaded(self, batch: Any, total: int = 1, keep_logits: bool = False) -> Any:
        self.count += 1
        self.began.release()
        assert self.may_go.wait(20)
        return self._segmenter.segment_loaded(batch, total, keep_logits)


@pytest.fixture
def held(segmenter: vocseg.Segmenter) -> Iterator[Held]:
    found = Held(segmenter)
    yield found
    found.may_go.set()


async def forever() -> None:
    await asyncio.Event().wait()


def height(result: Any, watch: Any) -> int:
    return len(result.mask)


def service_with(segmenter: Any, **changes: Any) -> Service:
    return Service(segmenter, Limits(**{**vars(LIMITS), **changes}))


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it does not come")


def test_more_than_the_queue_holds_is_refused(held: Held) -> None:
    async def run() -> None:
        service = service_with(held)
        tasks = [asyncio.ensure_future(service.run([Upload(PNG)], height, forever())) for _ in range(3)]
        await until(lambda: service.running == 1)
        assert (service.taken, service.waiting) == (3, 2)
        with pytest.raises(HTTPException) as refused:
            await service.run([Upload(PNG)], height, forever())
        assert refused.value.status_code == 429
        assert int((refused.value.headers or {})["Retry-After"]) >= 1
        held.may_go.set()
        assert await asyncio.gather(*tasks) == [[40]] * 3
        assert (service.taken, service.running) == (0, 0)
        service.close()

    asyncio.run(run())


def test_a_batch_needs_room_for_all_its_images(held: Held) -> None:
    async def run() -> None:
        service = service_with(held)
        with pytest.raises(HTTPException, match="the queue is full"):
            await service.run([Upload(PNG)] * 4, height, forever())
        assert service.taken == 0
        held.may_go.set()
        assert await service.run([Upload(PNG)] * 3, height, forever()) == [40] * 3
        service.close()

    asyncio.run(run())


def test_a_client_that_goes_leaves_the_queue(held: Held) -> None:
    async def run() -> None:
        service = service_with(held)
        first = asyncio.ensure_future(service.run([Upload(PNG)], height, forever()))
        await until(lambda: service.running == 1)
        leaves = asyncio.Event()

        async def gone() -> None:
            await leaves.wait()

        second = asyncio.ensure_future(service.run([Upload(PNG)] * 2, height, gone()))
        await until(lambda: service.waiting == 2)
        leaves.set()
        with pytest.raises(HTTPException) as left:
            await second
        assert left.value.status_code == CLIENT_GONE
        await until(lambda: service.waiting == 0)
        held.may_go.set()
        assert await first == [40]
        assert held.count == 1  # what has left was never segmented
        service.close()

    asyncio.run(run())


def test_a_canceled_task_leaves_the_queue(held: Held) -> None:
    async def run() -> None:
        service = service_with(held)
        first = asyncio.ensure_future(service.run([Upload(PNG)], height, forever()))
        await until(lambda: service.running == 1)
        second = asyncio.ensure_future(service.run([Upload(PNG)], height, forever()))
        await until(lambda: service.waiting == 1)
        second.cancel()
        await until(lambda: service.waiting == 0)
        held.may_go.set()
        assert await first == [40]
        service.close()

    asyncio.run(run())


def test_no_time(held: Held) -> None:
    async def run() -> None:
        service = service_with(held, timeout=0.3)
        first = asyncio.ensure_future(service.run([Upload(PNG)], height, forever()))
        await until(lambda: service.running == 1)
        second = service.run([Upload(PNG)], height, forever())
        started, waited = await asyncio.gather(first, second, return_exceptions=True)
        assert isinstance(started, HTTPException)
        assert isinstance(waited, HTTPException)
        assert (started.status_code, waited.status_code) == (504, 503)
        await until(lambda: service.taken == 1)  # a network that has begun cannot be stopped
        held.may_go.set()
        await until(lambda: service.taken == 0)
        service.close()

    asyncio.run(run())


def test_the_end_finishes_what_is_there_and_refuses_more(held: Held) -> None:
    async def run() -> None:
        service = service_with(held)
        tasks = [asyncio.ensure_future(service.run([Upload(PNG)], height, forever())) for _ in range(2)]
        await until(lambda: service.running == 1)
        service.end()
        with pytest.raises(HTTPException, match="503"):
            service.check_room()
        idle = asyncio.ensure_future(service.idle())
        await asyncio.sleep(0.05)
        assert not idle.done()
        held.may_go.set()
        await idle
        assert await asyncio.gather(*tasks) == [[40], [40]]
        service.close()

    asyncio.run(run())


def test_it_is_ready_when_the_network_has_run(held: Held, open_client: Callable[..., TestClient]) -> None:
    import vocseg.app.serve.application as application
    from vocseg.app.serve.gate import Access
    from vocseg.app.serve.label_studio.images import LabelStudio

    app = application.build(held, LIMITS, Access(), LabelStudio(None, None))  # type: ignore[arg-type]
    with TestClient(app, base_url="http://localhost") as client:
        assert held.began.acquire(timeout=20)
        answer = client.get("/v1/ready")
        assert (answer.status_code, answer.json()) == (503, {"error": "the network is starting"})
        assert client.get("/v1/health").status_code == 200
        held.may_go.set()
        while client.get("/v1/ready").status_code != 200:
            time.sleep(0.01)


def test_workers_share_the_processors(segmenter: vocseg.Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vocseg.app.serve.limits.cores", lambda: 6)

    def limits(device: str, workers: int | None) -> tuple[int, int]:
        found = Limits.of(device, workers=workers, queue=1, timeout=1, max_bytes=1, max_pixels=1)
        return found.workers, found.threads

    assert [limits("cpu", None), limits("cuda", None), limits("cpu", 2), limits("cpu", 4), limits("cpu", 9)] == [
        (6, 1), (2, 3), (2, 3), (4, 1), (9, 1),
    ]  # fmt: skip


def test_threads_of_a_worker(segmenter: vocseg.Segmenter) -> None:
    before = torch.get_num_threads()
    seen: list[int] = []

    async def run() -> None:
        service = service_with(segmenter, threads=1)
        await service.run([Upload(PNG)], lambda result, watch: seen.append(torch.get_num_threads()), forever())
        service.close()

    asyncio.run(run())
    torch.set_num_threads(before)
    assert seen == [1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"queue": 0}, "queue is 0"), ({"workers": 0}, "workers is 0"), ({"timeout": 0}, "timeout is 0"),
        ({"timeout": float("nan")}, "timeout is nan"), ({"max_bytes": -1}, "max_bytes is -1"),
        ({"max_pixels": 0}, "max_pixels is 0"),
        ({"max_pixels": 10**9}, "max_pixels is 1000000000, more than this process reads"),
        ({"queue": "8"}, "queue must be an integer"),
        ({"token": ""}, "the token is empty"), ({"token": "a\nb"}, "the token"), ({"token": "ä"}, "the token"),
        ({"cors": ["example.org"]}, "is not like https://example.org"), ({"cors": ["https://example.org/a"]}, "is not like"),
        ({"cors": "https://example.org"}, "cors must be a list"), ({"model": "two_layer_net"}, "has no pretrained"),
        ({"device": "cuda:77"}, "no device 'cuda:77'"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_used(segmenter: vocseg.Segmenter, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(vocseg.InputError) as wrong:
        vocseg.serve(**({"model": segmenter} | settings if "device" not in settings else settings))
    assert message in str(wrong.value)
    assert "\n" not in str(wrong.value)
