"""Download something small into memory: within a deadline and a limit of bytes."""

from __future__ import annotations

import time
import urllib.error
import urllib.request

from vocseg import __version__
from vocseg.download.http import CHUNK, open_url
from vocseg.errors import DataError, reason

DEADLINE = 60.0
"""Seconds for all of a download."""
LIMIT = 256 << 20
"""Most bytes."""


def is_url(text: object) -> bool:
    """Tell whether a value is an address of http or https.

    >>> is_url("https://example.org/a.jpg"), is_url("a.jpg")
    (True, False)
    """
    return isinstance(text, str) and text.lower().startswith(("http://", "https://"))


def download_bytes(url: str, deadline: float = DEADLINE, limit: int = LIMIT) -> bytes:
    """Return what an address serves; raise DataError if it fails, takes longer than ``deadline`` or has over ``limit`` bytes.

    Proxies come from the environment; redirects lead to http and https only.
    """
    start, parts, size = time.monotonic(), [], 0
    try:
        request = urllib.request.Request(url, headers={"User-Agent": f"vocseg/{__version__}", "Accept": "image/*,*/*"})
        with open_url(request, min(deadline, 30.0)) as response:
            while chunk := response.read1(CHUNK):
                parts.append(chunk)
                size += len(chunk)
                if size > limit:
                    raise DataError(f"cannot read {url}: it has more than {limit >> 20} MB")
                if time.monotonic() - start > deadline:
                    raise DataError(f"cannot read {url}: it took longer than {deadline:g} s")
            if response.length:
                raise DataError(f"cannot read {url}: cut off, {response.length} bytes are missing")
    except DataError:
        raise
    except urllib.error.HTTPError as error:
        with error:
            raise DataError(f"cannot read {url}: the server answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise DataError(f"cannot read {url}: {getattr(error.reason, 'strerror', None) or error.reason}") from error
    except Exception as error:  # a broken connection, a redirect that is refused, an answer that drips
        raise DataError(f"cannot read {url}: {reason(error)}") from error
    return b"".join(parts)
