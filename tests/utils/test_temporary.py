from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vocseg.errors import ModelError, OutputError
from vocseg.utils import temporary
from vocseg.utils.files import building, replacing
from vocseg.utils.temporary import temporary_beside

WRITER = """
import sys, time
from pathlib import Path
from vocseg.utils.files import building, replacing
with {call}(Path(sys.argv[1])) as temporary:
    (temporary / "half" if temporary.is_dir() else temporary).write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def unswept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget which folders this process has swept."""
    monkeypatch.setattr(temporary, "_swept", set())


def started_writer(call: str, path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", WRITER.format(call=call), str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("call", ["replacing", "building"])
def test_the_next_call_deletes_what_a_killed_process_left(call: str, tmp_path: Path) -> None:
    with started_writer(call, tmp_path / "new") as writer:
        (left,) = tmp_path.iterdir()
        with replacing(tmp_path / "other") as path:
            path.write_text("x")
        assert left.exists()  # its process is alive
        writer.send_signal(signal.SIGKILL)
    temporary._swept.clear()
    with building(tmp_path / "new"):
        assert not left.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "other"]


def test_without_locks_only_what_is_a_day_old_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "fcntl", None)
    names = {name: tmp_path / f".{name}.0123456789abcdef.part" for name in ("young", "old", "busy", "idle")}
    users = tmp_path / ".mine.part"
    for path in (names["young"], names["old"], users):
        path.touch()
    for name in ("busy", "idle"):
        (names[name] / "deep").mkdir(parents=True)
        (names[name] / "deep" / "file").touch()
    before = time.time() - 2 * temporary.DAY
    for path in (names["old"], names["busy"], names["idle"], names["idle"] / "deep" / "file", names["idle"] / "deep", users):
        os.utime(path, (before, before))
    with replacing(tmp_path / "a") as path:
        path.touch()
    assert set(tmp_path.iterdir()) == {names["young"], names["busy"], users, tmp_path / "a"}


def test_planted_links_and_pipes_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    link, pipe = (tmp_path / "shared" / f".a.{digit * 16}.part" for digit in "01")
    link.parent.mkdir()
    link.symlink_to(victim)
    os.mkfifo(pipe)
    monkeypatch.setattr(temporary.secrets, "token_hex", lambda size: "0" * 2 * size)  # what an attacker hopes for
    with pytest.raises(OutputError, match="File exists"), replacing(tmp_path / "shared" / "a") as path:
        path.write_text("x")
    assert victim.read_text() == "precious"
    assert link.is_symlink()


def test_two_writers_of_one_name_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with replacing(path) as first:
        with replacing(path) as second:
            first.write_text("first")
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"


def test_writers_in_threads_keep_their_files_and_the_umask(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()

    def write(number: int) -> None:
        for turn in range(20):
            temporary._swept.clear()
            with replacing(tmp_path / f"{number}-{turn}") as path:
                path.write_text("x")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(tmp_path.iterdir())) == 81
    assert {path.stat().st_mode for path in tmp_path.iterdir()} == {plain.stat().st_mode}


def test_a_private_file_of_a_writer_gets_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with replacing(tmp_path / "a") as path:
        path.unlink()
        os.close(os.open(path, os.O_CREAT, 0o600))
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("length", [241, 255])
def test_long_names(length: int, tmp_path: Path) -> None:
    with replacing(tmp_path / ("n" * length)) as path:
        path.write_text("x")
    assert (tmp_path / ("n" * length)).read_text() == "x"
    for call in (replacing, building):
        with pytest.raises(OutputError, match=r"cannot write .*nn: File name too long"), call(tmp_path / ("n" * 256)) as path:
            pass
    assert len(list(tmp_path.iterdir())) == 1


def failing(path: Path, error: Exception) -> None:
    with replacing(path):
        raise error


VAGUE = (RuntimeError("unexpected pos 555200 vs 555096"), OSError("encoder error -2 when writing image file"))


@pytest.mark.parametrize("error", VAGUE)
def test_a_vague_error_on_a_full_disk(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporary, "_disk_error", lambda path: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    with pytest.raises(OutputError, match=r"cannot write .*a\.pt: No space left on device$") as caught:
        failing(tmp_path / "a.pt", error)
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_errors_on_a_healthy_disk_stay(tmp_path: Path) -> None:
    for error in (VAGUE[0], ModelError("no model file")):
        with pytest.raises(type(error), match=str(error)):
            failing(tmp_path / "a.pt", error)
    with pytest.raises(OutputError, match=r"a\.pt: encoder error -2"):
        failing(tmp_path / "a.pt", VAGUE[1])
    assert list(tmp_path.iterdir()) == []


def test_a_limit_on_file_sizes_is_a_failure_of_the_disk(tmp_path: Path) -> None:
    code = f"""
import resource, torch
from pathlib import Path
from vocseg.errors import OutputError
from vocseg.utils.files import replacing
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with replacing(Path({str(tmp_path / "a.pt")!r})) as path:
        torch.save(torch.zeros(1_000_000), path)
except OutputError as error:
    print(error.exit_code, error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"1 cannot write {tmp_path / 'a.pt'}: File too large\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["/dev/null", "/dev/stdout", "/proc/self/a", "."])
def test_devices_and_folders_are_not_replaced(target: str) -> None:
    with pytest.raises(OutputError, match=f"cannot write {target}: "), replacing(Path(target)) as path:
        path.write_text("x")


def test_a_folder_that_vanishes(tmp_path: Path) -> None:
    def write() -> None:
        with temporary_beside(tmp_path / "deep" / "a") as path:
            path.unlink()
            path.parent.rmdir()
            path.write_text("x")

    with pytest.raises(OutputError, match=r"cannot write .*: No such file"):
        write()
