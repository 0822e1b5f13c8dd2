"""An S3 server on this machine, moto's, that fails when it is told to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

SLOW_DOWN = (503, "SlowDown", "Please reduce your request rate.")
INTERNAL = (500, "InternalError", "We encountered an internal error. Please try again.")
DENIED = (403, "AccessDenied", "Access Denied")
Failure = tuple[int, str, str]


class S3Server:
    """``fail``: called with method and path of each request; returns the failure to answer with, or None. ``seen``: requests.

    ``before``: called with the same, before a request is answered, perhaps after a while. ``environment``: of processes
    that use it.
    """

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):
            def log(self, *_: Any) -> None:
                pass

        self.fail: Callable[[str, str], Failure | None] = lambda method, path: None
        self.seen: list[tuple[str, str]] = []
        self._application = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, True, request_handler=Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        values = {"ENDPOINT_URL": self.url, "ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "DEFAULT_REGION": "us-east-1"}
        values |= {"MAX_ATTEMPTS": "1", "EC2_METADATA_DISABLED": "true"}
        self.environment = {f"AWS_{name}": value for name, value in values.items()}
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        query = environ.get("QUERY_STRING", "")
        request = environ["REQUEST_METHOD"], environ["PATH_INFO"] + (f"?{query}" if query else "")
        self.seen.append(request)
        failure = self.fail(*request)
        if failure is None:
            return self._application(environ, start_response)
        status, code, message = failure
        length = int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"].read(length)
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
        start_response(f"{status} {code}", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [b"" if request[0] == "HEAD" else body]

    def times(self, failure: Failure, count: int, wanted: Callable[[str, str], bool]) -> None:
        """Answer the next ``count`` requests that are ``wanted`` with a failure."""
        left = [count]

        def fail(method: str, path: str) -> Failure | None:
            if left[0] and wanted(method, path):
                left[0] -= 1
                return failure
            return None

        self.fail = fail

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
