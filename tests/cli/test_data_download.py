from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from vocseg.download.mirrors import VOC_ARCHIVES, Archive

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tar(synth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """VOC2012's stand-in on this machine; its only other place does not exist."""
    path = tmp_path / "voc.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(synth, "VOCdevkit/VOC2012")
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setitem(VOC_ARCHIVES, "2012", Archive(VOC_ARCHIVES["2012"].name, digest, ("http://127.0.0.1:1/voc.tar",)))
    monkeypatch.delenv("VOCSEG_MIRRORS", raising=False)
    return path


def test_says_what_it_did(run: Run, tar: Path, tmp_path: Path) -> None:
    data, report = tmp_path / "data", tmp_path / "report.json"
    code, out, err = run("data", "download", data, "--mirror", tar, "--json", report)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"{data / 'VOCdevkit' / 'VOC2012'}: 6 train, 4 val images"
    assert json.loads(report.read_text()) == {
        "folder": str(data / "VOCdevkit" / "VOC2012"),
        "images": {"train": 6, "val": 4},
        "archives": {VOC_ARCHIVES["2012"].name: str(tar)},
    }
    code, out, _ = run("data", "download", data)
    assert code == 2  # not all is there
    assert "is a part of VOC2012: 6 of 1,464 train" in out
    assert out.splitlines()[-1] == f"{data / 'VOCdevkit' / 'VOC2012'}: 6 train, 4 val images; nothing was downloaded"


def test_several_mirrors(run: Run, tar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = run("data", "download", tmp_path / "a", "--mirror", "http://127.0.0.1:1", "--mirror", tar)
    assert code == 0
    assert "Connection refused" in out
    monkeypatch.setenv("VOCSEG_MIRRORS", f"http://127.0.0.1:1,{tar}")
    assert run("data", "download", tmp_path / "b")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "127.0.0.1:1/voc.tar: Connection refused"),
        (["--mirror", "/no/such/place"], "there is no file or folder /no/such/place"),
        (["--year", "2013"], "--year"),
        (["--year", "2007", "--trainaug"], "trainaug is made from VOC2012, not VOC2007"),
    ],
)
def test_errors_are_one_line(run: Run, tar: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    code, _, err = run("data", "download", tmp_path / "data", *arguments)
    assert code == 2
    assert err.startswith("vocseg: error: ")
    assert err.count("\n") == 1
    assert message in err
