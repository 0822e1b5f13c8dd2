"""Who may ask: the token, the names of the server (against DNS rebinding), and the origins of pages."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import re
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from vocseg.app.serve.problems import problem
from vocseg.errors import SettingError

OPEN = ("/", "/v1/health", "/v1/ready", "/label-studio/health", "/docs", "/openapi.json", "/favicon.ico")
"""Addresses that need no token: the page, its description, and probes."""
OPEN_FOLDERS = ("/static/", "/samples/")
_HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s/?#@:\[\]\\]*))(?::\d*)?")
_ORIGIN = re.compile(rf"https?://(?!:|$){_HOST.pattern}", re.IGNORECASE)


@dataclass(frozen=True)
class Access:
    """Who may use the service; see :func:`vocseg.serve`."""

    token: str | None = None
    hosts: tuple[str, ...] = ()
    cors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        token = self.token
        if token is not None and not (token.isascii() and token.isprintable() and token.strip() == token != ""):
            raise SettingError("the token is empty, or has spaces at its ends or characters beyond ASCII; choose another one")
        for host in self.hosts:
            if host == "" or host_name(f"[{host}]" if host.count(":") > 1 else host) != host.lower():
                raise SettingError(f"allowed host {host!r} is not a name like seg.example.org, without scheme, port and path")
        for origin in self.cors:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise SettingError(f"cors origin '{origin}' is not like https://example.org, or *")

    def knows_host(self, host: str) -> bool:
        """Tell whether a request's header Host names this server.

        A page of an attacker whose name resolves to 127.0.0.1 sends its own name. With a token it is of no use to it.

        >>> Access().knows_host("localhost:8000"), Access().knows_host("evil.example:8000")
        (True, False)
        """
        name = host_name(host)
        return name in map(str.lower, self.hosts) or is_loopback(name) or (self.token is not None and not self.hosts)

    def knows_token(self, header: str) -> bool:
        """Tell whether the header Authorization holds the token, as Bearer, or as the password of Basic."""
        if self.token is None:
            return True
        scheme, _, given = header.partition(" ")
        given = given.strip()
        if scheme.lower() == "basic":
            given = _password(given)
        elif scheme.lower() != "bearer":
            given = ""
        # Digests, so that not even the length can be told from the time.
        return hmac.compare_digest(_digest(given), _digest(self.token))

    def knows_origin(self, origin: str | None, host: str) -> bool:
        """Tell whether a page of this origin may send requests: the service's own, or one that is named."""
        own = (f"http://{host}".lower(), f"https://{host}".lower())
        return origin is None or origin in self.cors or "*" in self.cors or origin.lower() in own


def host_name(host: str) -> str:
    """Return the name in a header Host, without the port.

    >>> host_name("LocalHost:8000"), host_name("[::1]:80")
    ('localhost', '::1')
    """
    found = _HOST.fullmatch(host.lower())
    return (found[1] or found[2]).rstrip(".") if found else ""


def is_loopback(name: str) -> bool:
    """Tell whether a name or address is of this machine only."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class Gate:
    """Refuses requests before their body is read."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refusal = self._refusal(scope)
            if refusal is not None:
                await refusal(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        access, headers, path = self.access, Headers(scope=scope), scope["path"]
        host = headers.get("host", "")
        if not access.knows_host(host):
            return problem(403, f"this server is not called {host[:80]!r}; name it with --allow-host")
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and not access.knows_origin(headers.get("origin"), host):
            return problem(403, f"pages of {headers['origin'][:80]} may not use this server; allow them with --cors")
        is_open = path in OPEN or path.startswith(OPEN_FOLDERS)
        if not is_open and not access.knows_token(headers.get("authorization", "")):
            how = {"WWW-Authenticate": 'Bearer realm="vocseg"'}
            return problem(401, "this server wants its token, as Authorization: Bearer TOKEN", how)
        return None


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _password(given: str) -> str:
    try:
        return base64.b64decode(given, validate=True).decode("utf-8").partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
