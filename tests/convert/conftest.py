"""Fixtures of the tests of convert."""

from __future__ import annotations

from pathlib import Path

import pytest

from convert.scenes import put, put_images, scenes


@pytest.fixture
def roads(tmp_path: Path) -> Path:
    made = scenes(10, 11, void=11)
    put_images(tmp_path / "roads" / "frames", made)
    for name, mask in made.items():
        put(tmp_path / "roads" / "labels" / f"{name}_L.png", mask)
    return tmp_path / "roads"
