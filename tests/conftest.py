"""Fixtures: a tiny synthetic data set, real images if there are any, the command line in this process."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from s3_server import S3Server
from vocseg import voc
from vocseg.cli.console import AroundBars
from vocseg.cli.main import main
from vocseg.data.dataset import SplitDataset
from vocseg.data.layout import VocFolder
from vocseg.data.synthetic import write_synthetic
from vocseg.utils import remote

BUCKETS = itertools.count()
REAL = Path(os.environ.get("VOCSEG_TEST_VOC", Path(__file__).parents[2] / "shared" / "voc"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skips = {
        "real_voc": (not (REAL / "VOCdevkit").is_dir(), f"no real VOC images in {REAL} (set VOCSEG_TEST_VOC)"),
        "gpu": (not torch.cuda.is_available(), "no GPU that torch can use"),
    }
    for item in items:
        for marker, (missing, reason) in skips.items():
            if missing and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def real_voc() -> Path:
    return REAL


@pytest.fixture(scope="session")
def real_few(real_voc: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 24 + 10 of the real images, linked."""
    folder, source = tmp_path_factory.mktemp("real") / "data", VocFolder.find(real_voc)
    target = folder / "VOCdevkit" / "VOC2012"
    lists = target / voc.SPLITS
    lists.mkdir(parents=True)
    for name in (voc.IMAGES, voc.MASKS):
        (target / name).symlink_to((source.root / name).resolve())
    for split, count in (("train", 24), ("val", 10)):
        ids = source.ids(f"{split}_2007")[:count]
        (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in ids))
    return folder


@pytest.fixture(scope="session")
def synth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VOC-layout folder of 6 + 4 small images; do not change it."""
    folder = tmp_path_factory.mktemp("synth") / "data"
    write_synthetic(folder, train=6, val=4, size=(40, 48), seed=3)
    return folder


@pytest.fixture
def damaged(synth: Path, tmp_path: Path) -> Path:
    """A copy of ``synth`` to be damaged."""
    return Path(shutil.copytree(synth, tmp_path / "damaged"))


@pytest.fixture
def val_set(synth: Path) -> SplitDataset:
    return SplitDataset(VocFolder.find(synth), "val")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    pytest.importorskip("moto.server", reason="needs moto[server]")
    pytest.importorskip("s3fs", reason="needs s3fs")
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """The S3 server, which this process and those that it starts use, and retries without waiting. Buckets are new."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote, "DELAYS", (0.0, 0.0, 0.0))
    s3_server.seen.clear()
    yield s3_server
    s3_server.fail = lambda method, path: None


@pytest.fixture
def bucket(s3: S3Server) -> str:
    """The URL of a new, empty bucket."""
    import s3fs

    name = f"bucket-{next(BUCKETS)}"
    s3fs.S3FileSystem().mkdir(name)
    s3.seen.clear()
    return f"s3://{name}"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process; returns exit code, standard output and standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _log_handlers() -> Iterator[None]:
    """Remove the terminal's log handler of verbs run in this process: it would print what later tests log."""
    yield
    handlers = logging.getLogger("vocseg").handlers
    handlers[:] = [handler for handler in handlers if not isinstance(handler, AroundBars)]
