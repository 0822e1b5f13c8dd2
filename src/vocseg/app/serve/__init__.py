"""The HTTP service: masks over HTTP, and a page for a browser.

``service`` runs the network behind a bounded queue, ``uploads`` reads requests, ``answers`` writes results, ``routes`` has
the addresses, ``label_studio`` those for that tool, ``gate`` decides who may ask, ``access_log`` and ``metrics`` tell what
happened, ``protocol`` reads HTTP/1.1, ``server`` listens.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from vocseg.app.serve.limits import Limits
from vocseg.errors import SettingError
from vocseg.inference.segmenter import Segmenter, as_segmenter
from vocseg.models.zoo.vocseg_s import NAME as DEFAULT_MODEL
from vocseg.utils.arguments import checked
from vocseg.utils.system import max_pixels as pixel_limit

MAX_PIXELS = 25_000_000
"""Pixels of an image, unless another limit is set: strangers send images to a server."""
PACKAGES = ("fastapi", "uvicorn", "python-multipart", "prometheus-client")

App = Callable[[Any, Any, Any], Awaitable[None]]


def require_packages() -> None:
    """Raise SettingError, naming the extra, if a package of the service is not installed."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name.replace("-", "_")) is None]
    if missing:
        raise SettingError(f"{missing[0]} is not installed; pip install 'vocseg[serve]'")


@checked
def serve(
    model: str | Path | nn.Module | Segmenter = DEFAULT_MODEL,
    *,
    weights: str | Path | None = None,
    token: str | None = None,
    hosts: Sequence[str] = (),
    cors: Sequence[str] = (),
    workers: int | None = None,
    queue: int = 32,
    timeout: float = 30.0,
    max_bytes: int = 32 << 20,
    max_pixels: int | None = None,
    label_studio_url: str | None = None,
    label_studio_key: str | None = None,
    **options: Any,
) -> App:
    """Return the ASGI app of the HTTP service, for uvicorn, gunicorn, Ray Serve or a test; `vocseg serve` runs it.

    ``model``, ``weights`` and ``options`` are what :class:`vocseg.Segmenter` takes. ``token``: what a client must send as
    ``Authorization: Bearer TOKEN``; without one, only requests to this machine's own names (localhost, 127.0.0.1) and to
    ``hosts`` are answered. ``cors``: origins whose pages may call the service from a browser. ``workers``: images that are
    segmented at the same time, each with an equal share of the processors; None: on a CPU one for each processor.
    ``queue``: images that may wait; more get status 429. ``timeout``: seconds for an upload, and again for its answer.
    ``max_bytes``: of a request. ``max_pixels``: of an image; None: 25 million, or what :func:`vocseg.set_max_pixels` says.
    ``label_studio_url``, ``label_studio_key``: the Label Studio whose images are read for its tasks, and its access token.
    Raises ModelError for a model, SettingError for a setting, that cannot be used, or if the extra ``serve`` is missing.

    >>> app = serve(device="cpu", queue=8)
    >>> app.title
    'vocseg'
    """
    require_packages()
    from vocseg.app.serve.application import build
    from vocseg.app.serve.gate import Access
    from vocseg.app.serve.label_studio.images import LabelStudio

    segmenter = as_segmenter(model, weights=weights, **options)
    most = pixel_limit(MAX_PIXELS) if max_pixels is None else max_pixels
    if most > pixel_limit():
        raise SettingError(f"max_pixels is {most}, more than this process reads; call vocseg.set_max_pixels first")
    limits = Limits.of(segmenter.device.type, workers=workers, queue=queue, timeout=timeout, max_bytes=max_bytes, max_pixels=most)
    access = Access(token, tuple(hosts), tuple(cors))
    return build(segmenter, limits, access, LabelStudio(label_studio_url, label_studio_key))
