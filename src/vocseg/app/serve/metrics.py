"""Counts and times for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from vocseg import __version__
from vocseg.app.serve.service import Service

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
METHODS = ("GET", "HEAD", "POST", "OPTIONS")
MEDIA_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """What the service did, in a registry of its own: several apps may live in one process."""

    def __init__(self, service: Service) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        labels = ("method", "path", "status")
        self.requests = Counter("vocseg_requests", "Answers, by address and status.", labels, registry=registry)
        self.seconds = Histogram(
            "vocseg_request_seconds", "Time from a request's head to its answer.", ("path",), buckets=SECONDS, registry=registry
        )
        self.received = Counter("vocseg_received_bytes", "Bytes of request bodies.", registry=registry)
        self.sent = Counter("vocseg_sent_bytes", "Bytes of answers.", registry=registry)
        self.stages = Histogram(
            "vocseg_stage_seconds", "Time of an image in a stage.", ("stage",), buckets=SECONDS, registry=registry
        )
        for name, text, value in (
            ("waiting_images", "Images in the queue.", lambda: service.waiting),
            ("running_images", "Images that are segmented.", lambda: service.running),
            ("queue_images", "Images that the queue holds.", lambda: service.limits.queue),
            ("workers", "Images that are segmented at the same time.", lambda: service.limits.workers),
            ("upload_bytes", "Bytes of uploads that arrive.", lambda: service.buffered),
            ("ready", "Whether the service is ready.", lambda: int(service.is_warm and not service.is_ending)),
        ):
            Gauge(f"vocseg_{name}", text, registry=registry).set_function(value)
        info = Gauge("vocseg_info", "The model and the version.", ("model", "version"), registry=registry)
        info.labels(service.segmenter.info.architecture, __version__).set(1)
        service.on_times = self.observe_stages

    def observe_stages(self, times: dict[str, float]) -> None:
        """Count an image; ``times``: ms by stage."""
        for stage, value in times.items():
            self.stages.labels(stage).observe(value / 1000)

    def observe(self, method: str, path: str, status: int, seconds: float, received: int, sent: int) -> None:
        """Count an answer; ``path``: that of the route, so that the number of series is bounded."""
        self.requests.labels(method if method in METHODS else "other", path, str(status)).inc()
        self.seconds.labels(path).observe(seconds)
        self.received.inc(received)
        self.sent.inc(sent)

    def text(self) -> bytes:
        """Return all in Prometheus' text format."""
        return generate_latest(self.registry)
