from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vocseg.data.synthetic import write_synthetic


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set without a finding: every class in every split, images that are not confused; do not change it."""
    folder = tmp_path_factory.mktemp("sound") / "data"
    write_synthetic(folder, train=6, val=4, size=(60, 90), seed=2)
    return folder


@pytest.fixture
def broken(sound: Path, tmp_path: Path) -> Path:
    """A copy of ``sound`` to be damaged."""
    return Path(shutil.copytree(sound, tmp_path / "broken"))
