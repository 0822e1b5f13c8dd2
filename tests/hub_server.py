"""A few calls of the Hugging Face Hub, on this machine: what a repository holds, and its files."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class HubServer:
    """``files``: contents by path, which begins with the repository, as ``datasets/me/photos/a.jpg``. ``seen``: requests."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.seen: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub.seen.append(self.path)
                status, content, headers = hub.answer(self.path, self.headers.get("Range"))
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def answer(self, request: str, wanted: str | None) -> tuple[int, bytes, dict[str, str]]:
        """Return status, content and headers of the answer to a request, perhaps for a range."""
        url = urlsplit(request)
        path, missing = unquote(url.path), (404, b"{}", {"X-Error-Code": "EntryNotFound"})
        if match := re.fullmatch(r"/(.+)/resolve/main/(.+)", path):
            content = self.files.get(f"{match[1]}/{match[2]}")
            if content is None:
                return missing
            if not wanted:
                return 200, content, {}
            start, end = map(int, wanted.removeprefix("bytes=").split("-"))
            return 206, content[start : end + 1], {"Content-Range": f"bytes {start}-{end}/{len(content)}"}
        match = re.fullmatch(r"/api/(?:models/)?((?:datasets/)?[^/]+/[^/]+)(?:/revision/main)?(/tree/main)?/?(.*)", path)
        own = {name.removeprefix(f"{match[1]}/") for name in self.files if name.startswith(f"{match[1]}/")} if match else set()
        if not match or not own:
            return 404, b"{}", {"X-Error-Code": "RepoNotFound"}
        found: Any = {"id": match[1], "sha": "0" * 40, "tags": [], "private": False, "downloads": 0, "likes": 0}
        if match[2]:
            found = self._tree(match[1], own, match[3] and f"{match[3]}/", parse_qs(url.query)["recursive"] == ["true"])
        return (200, json.dumps(found).encode(), {}) if found else missing

    def _tree(self, repository: str, own: set[str], top: str, is_recursive: bool) -> list[dict[str, Any]]:
        rows = {}
        for name in sorted(name for name in own if name.startswith(top)):
            folders = [top + part for part in name.removeprefix(top).split("/")[:-1]]
            if folders:
                rows[folders[0]] = {"type": "directory", "path": folders[0], "size": 0, "oid": "0" * 40}
            if is_recursive or not folders:
                content = self.files[f"{repository}/{name}"]
                rows[name] = {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
        return [*rows.values()]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
