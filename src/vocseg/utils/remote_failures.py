"""Failures of stores and connections: which may pass."""

from __future__ import annotations

import errno
import http.client

PASSING = {
    errno.EIO, errno.EBUSY, errno.EAGAIN, errno.EPIPE, errno.ETIMEDOUT, errno.ECONNRESET, errno.ECONNABORTED, errno.ECONNREFUSED,
    errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH, getattr(errno, "EREMOTEIO", errno.EIO),
}  # fmt: skip
PASSING_KINDS = {
    "ClientConnectionError", "ConnectionError", "ClientPayloadError", "HTTPClientError", "IncompleteRead", "IncompleteReadError",
    "ResponseStreamingError", "ResponseParserError", "HttpProcessingError", "ServiceResponseError", "ServiceRequestError",
}  # fmt: skip
"""Errors of file systems' packages for a connection that broke."""


def is_transient(error: BaseException | None) -> bool:
    """Tell whether a failure may pass: a broken connection, too many requests, or an error of the server (5xx)."""
    if error is None:
        return False
    if status := status_of(error):
        return status >= 500 or status in (408, 425, 429)
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError | FileExistsError):
        return False
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, TimeoutError | ConnectionError | http.client.HTTPException | EOFError) or kinds & PASSING_KINDS:
        return True
    return isinstance(error, OSError) and error.errno in PASSING


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status, 400 or more, that an error of a file system's package has."""
    for value in (error, error.__cause__):
        response = getattr(value, "response", None)
        answer = response.get("ResponseMetadata", {}).get("HTTPStatusCode") if isinstance(response, dict) else None
        of_response = getattr(response, "status_code", None)
        for status in (answer, of_response, getattr(value, "status", None), getattr(value, "code", None)):
            if isinstance(status, int) and 400 <= status < 600:
                return status
    return None
