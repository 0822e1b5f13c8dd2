"""What `pip install` gets: the wheel has everything that the package reads at run time."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_wheel_works_from_an_empty_folder(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", build, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True)
    wheel = tmp_path / done.stdout.split()[-1]
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = [path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src" / "vocseg").rglob("*") if path.is_file()]
    assert {name for name in tracked if "__pycache__" not in name} <= names
    assert {"vocseg/py.typed", "vocseg/recipes/default.toml", "vocseg/assets/vocseg-s.safetensors"} <= names
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    use = (
        "import vocseg, vocseg.training.config as c; print(vocseg.__file__); print(c.find_recipe('synthetic')); vocseg.Segmenter()"
    )
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(site)!r}); {use}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(str(site)) for line in done.stdout.splitlines())
