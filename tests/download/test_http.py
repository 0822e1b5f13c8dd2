"""Transfers against a server that stalls, cuts, lies and changes its mind."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostile_server import (
    HostileServer,
    Reply,
    behave,
    chunked,
    cut,
    drip,
    hang_up,
    raw_range,
    serve,
    stall,
    status,
    trickle,
)
from vocseg.download.http import PartialFile, RetryPolicy, Unavailable, fetch
from vocseg.errors import OutputError

CONTENT = random.Random(0).randbytes(300_000)
QUICK = RetryPolicy(timeout=0.4, attempts=3, pause=0.01)


@pytest.fixture
def web() -> Iterator[HostileServer]:
    with HostileServer({"/file": CONTENT}) as server:
        yield server


@pytest.fixture
def part(tmp_path: Path) -> PartialFile:
    return PartialFile(tmp_path / "file.part")


def get(web: HostileServer, part: PartialFile, size: int | None = len(CONTENT), path: str = "/file") -> bool:
    return fetch(web.url + path, part, size, lambda coming: None, QUICK)


@pytest.mark.parametrize("size", [len(CONTENT), None])
@pytest.mark.parametrize(
    ("replies", "ranges"),
    [
        ([], [None]),
        ([chunked], [None]),
        ([status(301, Location="/file"), behave], [None, None]),
        ([status(302, Location="/file"), cut(200_000)], [None, None, "bytes=200000-"]),
        ([cut(100_000)], [None, "bytes=100000-"]),
        ([cut(100_000), cut(70_000), cut(1000)], [None, "bytes=100000-", "bytes=170000-", "bytes=171000-"]),
        ([stall(100_000)], [None, "bytes=100000-"]),
        ([stall(0)], [None, None]),
        ([hang_up, hang_up], [None, None, None]),
        ([status(503), status(500)], [None, None, None]),
        ([cut(100_000), status(503)], [None, "bytes=100000-", "bytes=100000-"]),
        ([status(429, Retry_After="0")], [None, None]),
        ([cut(100_000), raw_range("bytes 7-299999/300000", lambda c, s: c[7:])], [None, "bytes=100000-", None]),
        ([cut(100_000), raw_range("nonsense", lambda c, s: c[s:])], [None, "bytes=100000-", None]),
        ([cut(100_000), raw_range("bytes 100000-299999/*", lambda c, s: c[s:])], [None, "bytes=100000-"]),
        ([cut(100_000), status(416)], [None, "bytes=100000-", None]),
        # only a piece of what was asked for
        (
            [cut(100_000), raw_range("bytes 100000-199999/300000", lambda c, s: c[s:200_000])],
            [None, "bytes=100000-", "bytes=200000-"],
        ),
    ],
)
def test_gets_there(
    web: HostileServer, part: PartialFile, replies: list[Reply], ranges: list[str | None], size: int | None
) -> None:
    web.replies = list(replies)
    get(web, part, size)
    assert part.path.read_bytes() == CONTENT
    assert web.ranges_asked == ranges


def test_server_without_ranges(web: HostileServer, part: PartialFile) -> None:
    web.ranges = False
    web.replies = [cut(250_000)]
    assert get(web, part)
    assert part.path.read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_always_cut_short_of_the_end_is_given_up(web: HostileServer, part: PartialFile, ranges: bool) -> None:
    web.ranges, web.always = ranges, cut(120_000 if not ranges else 100)
    with pytest.raises(Unavailable, match=r"cut off after \d+ of 300000 bytes; 3 attempts"):
        get(web, part)
    assert part.length > 0  # for the next call


@pytest.mark.parametrize(
    ("reply", "size", "reason"),
    [
        (status(404), None, "404 Not Found"),
        (status(403), None, "403 Forbidden"),
        (status(503), None, "503 Service Unavailable; 3 attempts"),
        (status(204), None, "answers 204 No Content"),
        (status(302, Location="/file"), None, "302 .*redirect"),
        (status(302, Location="file:///etc/passwd"), None, "302 .*not allowed"),
        (status(302, Location="ftp://127.0.0.1:1/x"), None, "redirects to ftp://127.0.0.1:1/x, which is neither http"),
        (trickle(b"HTTP/1.1 200 OK\r\nX: "), None, "slower than 1024 bytes a second; 3 attempts"),
        (trickle(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;"), None, "slower than 1024 .*; 3 attempts"),
        (serve(b"xxxx", 999_999_999_999_999), None, "has 999999999999999 bytes, more than any archive"),
        (stall(0), None, "stalled for 0.4 s; 3 attempts"),
        (hang_up, None, "connection broken .*; 3 attempts"),
        (serve(b"<html>sign in</html>", Content_Type="text/html; charset=utf-8"), None, "answers with a web page"),
        (serve(b"short"), len(CONTENT), "has 5 bytes, but the archive has 300000"),
        (serve(CONTENT, 400_000), len(CONTENT), "has 400000 bytes, but the archive has 300000"),
        (raw_range("bytes 0-299999/300000", lambda c, s: c), None, "answers 206"),
        (drip(0.05), None, "slower than 1024 bytes a second; 3 attempts"),
    ],
)
def test_gives_up_with_a_reason(web: HostileServer, part: PartialFile, reply: Reply, size: int | None, reason: str) -> None:
    web.always = reply
    with pytest.raises(Unavailable, match=reason):
        get(web, part, size)


def test_length_that_is_too_great(web: HostileServer, part: PartialFile) -> None:
    web.replies = [serve(CONTENT, 400_000)]
    get(web, part, None)
    assert web.ranges_asked == [None, "bytes=300000-"]
    assert part.path.read_bytes() == CONTENT


def test_length_that_is_too_small(web: HostileServer, part: PartialFile) -> None:
    web.always = serve(CONTENT, 1000)
    get(web, part, None)
    assert part.length == 1000  # the checksum's business
    part.discard()
    with pytest.raises(Unavailable, match="has 1000 bytes"):
        get(web, part)


def test_chunked_and_longer_than_it_should_be(web: HostileServer, part: PartialFile) -> None:
    web.files["/file"] = CONTENT * 3
    web.always = chunked
    with pytest.raises(Unavailable, match="sends more than the 300000 bytes"):
        get(web, part)
    assert part.length == 0


def test_a_body_without_length_or_end(web: HostileServer, part: PartialFile, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setitem(fetch.__globals__, "SPACE_STEP", 100_000)
    web.always = chunked
    fetch(web.url + "/file", part, None, lambda coming: asked.append(part.length), QUICK)
    assert len(asked) >= 3  # the free space is looked at as the file grows
    part.discard()
    monkeypatch.setitem(fetch.__globals__, "MAX_SIZE", 200_000)
    with pytest.raises(Unavailable, match="sends more than any archive has"):
        get(web, part, None)
    assert part.length == 0


def test_attempts_without_progress_share_a_deadline(web: HostileServer, part: PartialFile) -> None:
    web.always = stall(0)
    with pytest.raises(Unavailable, match=r"stalled for 0\.1 s; 3 attempts"):
        fetch(web.url + "/file", part, None, lambda coming: None, RetryPolicy(timeout=0.1, attempts=9, pause=0.01))


def test_changed_content_is_not_glued_together(web: HostileServer, part: PartialFile) -> None:
    other = bytes(reversed(CONTENT))
    web.etags["/file"] = '"one"'
    web.always = cut(1000)
    with pytest.raises(Unavailable):
        get(web, part)
    assert part.origin() == {"url": web.url + "/file", "validator": '"one"', "total": len(CONTENT)}
    web.always, web.etags["/file"], web.files["/file"] = None, '"two"', other
    get(web, part)
    assert web.seen[-1][1]["If-Range"] == '"one"'
    assert part.path.read_bytes() == other


def test_changed_content_of_a_server_that_ignores_if_range(web: HostileServer, part: PartialFile) -> None:
    web.etags["/file"] = '"one"'
    web.replies = [cut(100_000), raw_range("bytes 100000-299999/300000", lambda c, s: b"x" * (len(c) - s))]
    get(web, part)  # no ETag in the second answer: nothing to tell it by
    assert part.path.read_bytes() != CONTENT
    part.discard()
    web.etags["/file"] = '"one"'
    web.replies = [cut(100_000), raw_range("bytes 100000-399999/400000", lambda c, s: b"x" * 300_000)]
    get(web, part, None)
    assert part.path.read_bytes() == CONTENT


def test_a_weak_etag_is_no_validator(web: HostileServer, part: PartialFile) -> None:
    web.etags["/file"] = 'W/"one"'
    web.replies = [cut(100_000)]
    get(web, part)
    assert "If-Range" not in web.seen[-1][1]


def test_part_of_another_mirror_is_built_upon(web: HostileServer, part: PartialFile) -> None:
    web.files["/other"] = CONTENT
    web.etags |= {"/file": '"one"', "/other": '"two"'}
    web.always = cut(100)
    with pytest.raises(Unavailable):
        get(web, part)
    web.always = None
    assert get(web, part, path="/other")
    assert part.path.read_bytes() == CONTENT


def test_complete_and_overlong_parts(web: HostileServer, part: PartialFile) -> None:
    part.path.write_bytes(CONTENT)
    get(web, part)
    assert web.seen == []
    get(web, part, None)
    assert web.ranges_asked == ["bytes=300000-"]  # 416 with the length: complete
    part.path.write_bytes(CONTENT + b"more")
    get(web, part)
    assert part.path.read_bytes() == CONTENT
    part.path.write_bytes(CONTENT + b"more")
    get(web, part, None)
    assert part.path.read_bytes() == CONTENT


def test_damaged_notes_are_no_notes(web: HostileServer, part: PartialFile) -> None:
    part.path.write_bytes(CONTENT[:10])
    part.path.with_name("file.part.json").write_text("[not json")
    get(web, part)
    assert part.path.read_bytes() == CONTENT


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/file", "http://no-such-host.invalid/file"])
def test_no_connection_is_not_waited_for(part: PartialFile, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("waits"))
    with pytest.raises(Unavailable, match=r"refused|not known|resolution|No address"):
        fetch(url, part, None, lambda coming: None, RetryPolicy())


@pytest.mark.parametrize("url", ["http://127.0.0.1:port/file", "http://127.0.0.1/a b", "http://[::1/file"])
def test_malformed_addresses(part: PartialFile, url: str) -> None:
    with pytest.raises(Unavailable):
        fetch(url, part, None, lambda coming: None, QUICK)


def test_waits_longer_each_time_and_as_long_as_asked(
    web: HostileServer, part: PartialFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    web.replies = [status(503), status(503), status(503, Retry_After="7"), status(503, Retry_After="9999")]
    fetch(web.url + "/file", part, None, lambda coming: None, RetryPolicy(pause=1.0))
    assert waits == [1.0, 2.0, 7.0, 60.0]


def test_disk_space_is_checked_first(web: HostileServer, part: PartialFile) -> None:
    part.path.write_bytes(CONTENT[:100])
    asked: list[int] = []
    fetch(web.url + "/file", part, None, asked.append, QUICK)
    assert asked == [len(CONTENT) - 100]


def test_full_disk_is_an_error_of_the_disk(web: HostileServer, part: PartialFile) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*file\.part: "):
            get(web, part)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert part.path.read_bytes() == CONTENT[:100_000]
    get(web, part)
    assert part.path.read_bytes() == CONTENT


def test_proxy_of_the_environment(part: PartialFile, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with HostileServer({"/file": CONTENT}) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        proxy.replies = [cut(100_000)]
        fetch("http://far-away.invalid/file", part, None, lambda coming: None, QUICK)
        assert part.path.read_bytes() == CONTENT
        assert proxy.ranges_asked == [None, "bytes=100000-"]
        assert proxy.seen[0][1]["Host"] == "far-away.invalid"


def test_pipes_in_the_place_of_an_unfinished_download(web: HostileServer, part: PartialFile) -> None:
    for path in (part.path, part.notes):
        os.mkfifo(path)
    get(web, part)
    assert part.path.read_bytes() == CONTENT
