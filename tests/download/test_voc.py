"""From mirrors to a folder in VOC layout, with small archives in the places of the real ones; no real host is asked."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from download.test_sbd import SBD_TRAIN, SBD_VAL, write_sbd
from hostile_server import HostileServer, cut, drip, hang_up, serve, stall, status
from vocseg import voc
from vocseg.data.layout import VocFolder
from vocseg.data.synthetic import write_synthetic
from vocseg.download import sbd as trainaug
from vocseg.download import voc as module
from vocseg.download.http import RetryPolicy
from vocseg.download.mirrors import VOC_ARCHIVES, Archive
from vocseg.download.voc import download_if_missing
from vocseg.errors import DataError, InputError, OutputError, VocsegError

QUICK = RetryPolicy(timeout=0.4, attempts=3, pause=0.01)
Run = Callable[..., tuple[int, str, str]]


@dataclass
class Source:
    """VOC2012's stand-in: the archive, and the server that has it."""

    web: HostileServer
    file: Path
    archive: Archive

    @property
    def content(self) -> bytes:
        return self.file.read_bytes()


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the archives of VOC2012, VOC2011 (nested as the real one is) and SBD, for nine small images."""
    folder = tmp_path_factory.mktemp("packed")
    root = folder / "root"
    write_synthetic(root, train=7, val=2, size=(40, 48), seed=1)
    (root / "classes.txt").unlink()
    (root / voc.SPLITS / "train.txt").write_text("".join(f"synth_00000{i}\n" for i in range(4)))
    (root / voc.SPLITS / "val.txt").write_text("synth_000004\nsynth_000005\n")
    write_sbd(folder / "benchmark.tgz", root)
    for year, prefix in (("2012", ""), ("2011", "TrainVal/")):
        with tarfile.open(folder / VOC_ARCHIVES[year].name, "w") as tar:
            tar.add(root, f"{prefix}VOCdevkit/VOC{year}")
    return folder


@pytest.fixture
def source(packed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Source]:
    monkeypatch.delenv("VOCSEG_MIRRORS", raising=False)
    files = {f"/{path.name}": path.read_bytes() for path in packed.iterdir() if path.is_file()}
    with HostileServer(files) as web:
        for year in ("2011", "2012"):
            name = VOC_ARCHIVES[year].name
            content = files[f"/{name}"]
            stand_in = Archive(name, hashlib.md5(content).hexdigest(), (f"{web.url}/{name}",), len(content))
            monkeypatch.setitem(VOC_ARCHIVES, year, stand_in)
        sbd = replace(
            module.SBD,
            md5=hashlib.md5(files["/benchmark.tgz"]).hexdigest(),
            urls=(f"{web.url}/benchmark.tgz",),
            size=None,
            sha256="",
        )
        monkeypatch.setattr(module, "SBD", sbd)
        monkeypatch.setattr(trainaug, "TRAINAUG", 7)
        monkeypatch.setattr(trainaug, "VAL", 2)
        yield Source(web, packed / VOC_ARCHIVES["2012"].name, VOC_ARCHIVES["2012"])


def get(folder: Path, *mirrors: object, **options: bool | str) -> module.DownloadResult:
    return module.download(folder, mirrors=[str(mirror) for mirror in mirrors], retry=QUICK, **options)  # type: ignore[arg-type]


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_whole(folder: Path, packed: Path) -> None:
    root = folder / "VOCdevkit" / "VOC2012"
    ours = {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    theirs = packed.parent / "root" if packed.is_file() else packed / "root"
    assert ours == {path.relative_to(theirs): path.read_bytes() for path in theirs.rglob("*") if path.is_file()}


def test_once_and_then_never_again(source: Source, tmp_path: Path) -> None:
    outcome = get(tmp_path / "data")
    assert outcome.images == {"train": 4, "val": 2}
    assert outcome.origins == {source.archive.name: source.archive.urls[0]}
    assert_whole(tmp_path / "data", source.file)
    assert left_in(tmp_path / "data") == ["VOCdevkit"]
    requests = len(source.web.seen)
    assert get(tmp_path / "data").origins == {}
    assert len(source.web.seen) == requests


@pytest.mark.parametrize(
    ("given", "root"),
    [("data", "data/VOCdevkit/VOC2012"), ("VOCdevkit", "VOCdevkit/VOC2012"), ("VOCdevkit/VOC2012", "VOCdevkit/VOC2012")],
)
def test_where_it_lands(source: Source, tmp_path: Path, given: str, root: str) -> None:
    assert get(tmp_path / given).folder.root == tmp_path / root
    assert VocFolder.find(tmp_path / given).root == tmp_path / root


def test_a_part_of_the_official_data_is_said_to_be_one(
    source: Source, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    get(tmp_path)
    assert "is a part of VOC2012: 4 of 1,464 train, 2 of 1,449 val images" in caplog.text
    caplog.clear()
    monkeypatch.setitem(module.OFFICIAL, "2012", {"train": 4, "val": 2})
    get(tmp_path)
    assert "is a part" not in caplog.text


def test_2011_is_nested_deeper(source: Source, tmp_path: Path) -> None:
    assert get(tmp_path, year="2011").folder.root == tmp_path / "VOCdevkit" / "VOC2011"
    assert left_in(tmp_path) == ["VOCdevkit"]
    get(tmp_path)  # another year beside it
    assert left_in(tmp_path / "VOCdevkit") == ["VOC2011", "VOC2012"]


def test_train_download(source: Source, tmp_path: Path) -> None:
    download_if_missing(tmp_path / "VOC2011")
    assert VocFolder.find(tmp_path / "VOC2011").root == tmp_path / "VOC2011"
    download_if_missing(tmp_path / "other")
    assert VocFolder.find(tmp_path / "other").root.name == "VOC2012"
    requests = len(source.web.seen)
    download_if_missing(tmp_path / "other")
    assert len(source.web.seen) == requests


def test_next_mirror_when_one_has_it_not(source: Source, tmp_path: Path) -> None:
    with HostileServer(always=status(404)) as first, HostileServer(always=status(403)) as second:
        outcome = get(tmp_path, first.url, f"{second.url}/deep")
        assert [len(first.seen), len(second.seen)] == [1, 1]
        assert second.seen[0][0] == f"/deep/{source.archive.name}"
    assert outcome.origins == {source.archive.name: source.archive.urls[0]}


def test_next_mirror_goes_on_with_what_the_last_one_sent(source: Source, tmp_path: Path) -> None:
    with HostileServer({f"/{source.archive.name}": source.content}, always=cut(100)) as bad:
        get(tmp_path, bad.url)
    assert source.web.ranges_asked == ["bytes=300-"]
    assert_whole(tmp_path, source.file)


def test_all_mirrors_fail(source: Source, tmp_path: Path) -> None:
    source.web.always = hang_up
    with (
        HostileServer(always=status(404)) as web,
        HostileServer(always=status(503)) as busy,
        pytest.raises(DataError) as caught,
    ):
        get(tmp_path, web.url, busy.url, tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(
        f"could not download {source.archive.name} from any source ({web.url}/{source.archive.name}: 404 Not Found; "
    )
    assert f"{busy.url}/{source.archive.name}: 503 Service Unavailable; 3 attempts" in message
    assert f"{tmp_path / source.archive.name}: no such file" in message
    assert f"{source.archive.urls[0]}: connection broken" in message
    assert message.endswith(f"try --mirror URL_OR_PATH, set VOCSEG_MIRRORS, or put the file into {tmp_path}")


def test_wrong_bytes_are_thrown_away(source: Source, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    wrong = b"x" * len(source.content)
    with HostileServer(always=serve(wrong)) as liar:
        get(tmp_path, liar.url)
    assert_whole(tmp_path, source.file)
    assert f"from {liar.url}/{source.archive.name} is corrupt (MD5 {hashlib.md5(wrong).hexdigest()}" in caplog.text
    assert "deleted" in caplog.text
    assert source.web.ranges_asked == [None]


def test_wrong_bytes_of_an_earlier_call_get_a_second_chance(source: Source, tmp_path: Path) -> None:
    (tmp_path / f"{source.archive.name}.part").write_bytes(b"rotten")
    get(tmp_path)
    assert source.web.ranges_asked == ["bytes=6-", None]
    assert_whole(tmp_path, source.file)


def test_content_that_changes_under_way(source: Source, tmp_path: Path) -> None:
    """No ETag to tell by: the halves of two versions are caught by the checksum, and the second is had whole."""
    source.web.replies = [cut(1000)]
    old = b"y" * len(source.content)
    source.web.replies = [lambda handler, content: cut(1000)(handler, old)]
    get(tmp_path)
    assert source.web.ranges_asked == [None, "bytes=1000-", None]
    assert_whole(tmp_path, source.file)


def test_archives_on_this_machine(source: Source, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(source.file, elsewhere)
    shutil.copy(source.file, elsewhere / "voc.tar")
    mirrors = [elsewhere, elsewhere.as_uri(), elsewhere / "voc.tar"]
    for index, mirror in enumerate(mirrors):
        get(tmp_path / str(index), mirror)
        assert_whole(tmp_path / str(index), source.file)
        assert left_in(tmp_path / str(index)) == ["VOCdevkit"]
    assert len(left_in(elsewhere)) == 2
    assert source.web.seen == []


def test_wrong_archive_on_this_machine_stays(source: Source, tmp_path: Path) -> None:
    copy = tmp_path / "voc.tar"
    copy.write_bytes(source.content[:-1] + b"!")
    get(tmp_path / "data", copy)
    assert copy.exists()
    assert_whole(tmp_path / "data", source.file)


def test_archive_in_the_folder_already(source: Source, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    archive = tmp_path / source.archive.name
    archive.write_bytes(source.content)
    get(tmp_path)
    assert source.web.seen == []
    assert archive.exists()  # not ours
    shutil.rmtree(tmp_path / "VOCdevkit")
    archive.write_bytes(source.content[:5000])  # as wget leaves it
    get(tmp_path)
    assert source.web.ranges_asked == ["bytes=5000-"]
    shutil.rmtree(tmp_path / "VOCdevkit")
    archive.write_bytes(b"x" * len(source.content))
    get(tmp_path)
    assert f"{archive} is corrupt (MD5 " in caplog.text
    assert_whole(tmp_path, source.file)


def test_keep_archive(source: Source, tmp_path: Path) -> None:
    get(tmp_path, keep_archive=True)
    assert left_in(tmp_path) == sorted([source.archive.name, "VOCdevkit"])
    assert (tmp_path / source.archive.name).read_bytes() == source.content


def test_interrupted_unpacking(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(archive: Path, folder: Path) -> None:
        (folder / "VOCdevkit").mkdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(module, "unpack", killed)
        with pytest.raises(KeyboardInterrupt):
            get(tmp_path)
    (tmp_path / ".VOC2012.unpacking" / "rubbish").mkdir(parents=True)  # as a killed process would leave it
    requests = len(source.web.seen)
    get(tmp_path)
    assert len(source.web.seen) == requests
    assert_whole(tmp_path, source.file)
    assert left_in(tmp_path) == ["VOCdevkit"]  # the archive was ours: downloaded by the call that broke off


def test_hostile_archive(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo("VOCdevkit/VOC2012/JPEGImages/a.jpg"))
        tar.addfile(tarfile.TarInfo("../../evil"))
    stand_in = replace(source.archive, md5=hashlib.md5(path.read_bytes()).hexdigest(), size=None)
    monkeypatch.setitem(VOC_ARCHIVES, "2012", stand_in)
    with pytest.raises(DataError, match=r"not trusted: '\.\./\.\./evil'"):
        get(tmp_path / "data", path)
    assert left_in(tmp_path / "data") == []
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo("something/else"))
    monkeypatch.setitem(VOC_ARCHIVES, "2012", replace(stand_in, md5=hashlib.md5(path.read_bytes()).hexdigest()))
    with pytest.raises(DataError, match="does not hold VOCdevkit/VOC2012"):
        get(tmp_path / "data", path)


def test_full_disk_is_noticed_before_the_first_byte(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = len(source.content) * 2  # not quite: archive and content and a little
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 0, free))  # type: ignore[attr-defined]
    with pytest.raises(OutputError, match=r"and its content need \d+\.\d GB in .*; \d+\.\d GB are free"):
        get(tmp_path)
    assert left_in(tmp_path) in ([], [f"{source.archive.name}.part.json"])
    get(tmp_path, source.file)  # no copy is made of an archive on this machine


def test_incomplete_data_set_is_not_touched(source: Source, tmp_path: Path) -> None:
    get(tmp_path)
    root = tmp_path / "VOCdevkit" / "VOC2012"
    (root / voc.MASKS / "synth_000001.png").unlink()
    with pytest.raises(DataError, match=r"exists but is not complete \(id 'synth_000001' has no mask.*move it away"):
        get(tmp_path)
    shutil.rmtree(root)
    root.mkdir()  # empty: as good as none
    get(tmp_path)
    shutil.rmtree(root)
    root.write_text("a file")
    with pytest.raises(DataError, match="exists but is not complete"):
        get(tmp_path)


def test_trainaug(source: Source, tmp_path: Path) -> None:
    outcome = get(tmp_path, trainaug=True)
    assert outcome.images == {"train": 4, "val": 2, "trainaug": 7}
    assert set(outcome.origins) == {source.archive.name, "benchmark.tgz"}
    assert left_in(tmp_path) == ["VOCdevkit"]
    requests = len(source.web.seen)
    assert get(tmp_path, trainaug=True).origins == {}
    assert len(source.web.seen) == requests
    assert len(SBD_TRAIN) + len(SBD_VAL) == 6


def test_trainaug_of_other_lengths(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    get(tmp_path, trainaug=True)
    monkeypatch.setattr(trainaug, "TRAINAUG", 10_582)
    with pytest.raises(DataError, match="has 7 images in trainaug and 2 in val, not 10582 and 2"):
        get(tmp_path, trainaug=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"year": "2006"}, "year 2006 is not one of 2007, 2008, .*; did you mean '20"),
        ({"year": "2011", "trainaug": True}, "trainaug is made from VOC2012, not VOC2011"),
    ],
)
def test_bad_use(tmp_path: Path, options: dict[str, str | bool], message: str) -> None:
    with pytest.raises(InputError, match=message):
        get(tmp_path, **options)


def test_unwritable_folder(source: Source, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        get(tmp_path / "file" / "data")


def test_complete_data_may_be_read_only(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    get(tmp_path, trainaug=True)
    monkeypatch.setattr(module, "writable_folder", lambda path: pytest.fail("writes"))
    get(tmp_path, trainaug=True)


def test_two_at_once(source: Source, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with module._exclusive_lock(tmp_path), pytest.raises(InputError, match="another process is downloading into"):
        get(tmp_path)
    get(tmp_path)


CHILD = """
import sys
from pathlib import Path
from vocseg.download.voc import download
from vocseg.download.mirrors import VOC_ARCHIVES, Archive
folder, url, md5, size = sys.argv[1:]
name = url.rpartition("/")[2]
VOC_ARCHIVES["2012"] = Archive(name, md5, (url,), int(size))
download(Path(folder))
"""


def test_killed_in_the_middle_of_a_transfer(source: Source, tmp_path: Path) -> None:
    """SIGKILL, at three different places; each call goes on where the last one was killed."""
    archive, part = source.archive, tmp_path / f"{source.archive.name}.part"
    command = [sys.executable, "-c", CHILD, tmp_path, archive.urls[0], archive.md5, str(archive.size)]
    reached = 0
    for _ in range(2):
        source.web.replies = [drip(0.01, 1000)]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size > reached + 5000):
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        reached = part.stat().st_size
        assert part.read_bytes() == source.content[:reached]
        assert not (tmp_path / "VOCdevkit").exists()
    get(tmp_path)
    asked = source.web.ranges_asked
    assert asked[0] is None
    assert asked[2] == f"bytes={reached}-"
    assert_whole(tmp_path, source.file)
    assert left_in(tmp_path) == ["VOCdevkit"]


def test_stalls_and_redirects_and_errors_on_the_way(source: Source, tmp_path: Path) -> None:
    name = source.archive.name
    source.web.replies = [status(302, Location=f"/{name}"), cut(4000), status(503), stall(2000), hang_up, cut(0)]
    with pytest.raises(VocsegError):
        get(tmp_path)  # patience of three
    get(tmp_path)
    assert_whole(tmp_path, source.file)
