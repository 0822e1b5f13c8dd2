"""Images of a real Ray cluster of three nodes on this machine against one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vocseg
from vocseg.errors import InputError, SettingError
from vocseg.inference.remote import STATE

pytest.importorskip("ray", reason="ray is not installed (extra ray)")
pytest.importorskip("psutil", reason="psutil is not installed")
import psutil
from pyarrow import parquet
from ray.cluster_utils import Cluster

from forked import Forked
from verbs import data_and_model
from vocseg import ray as on_ray

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="Ray's clusters for tests run on Linux")]
SLOWLY: dict[str, Any] = {"tta": "multiscale", "device": "cpu", "engine": "torch"}
FAST_CHECKS = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500, "health_check_failure_threshold": 10}


@pytest.fixture(autouse=True)
def _no_user_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what other tests have imported, which processes of the cluster would import too."""
    monkeypatch.setattr("vocseg.utils.user_code._imported", [])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", str(Path(vocseg.__file__).parents[1]))
        head = {"num_cpus": 1, "include_dashboard": False, "_system_config": FAST_CHECKS}
        nodes = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            nodes.add_node(num_cpus=1)
        nodes.wait_for_nodes()
        yield nodes
        nodes.shutdown()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty images, with a damaged one beside them, and a model."""
    folder = data_and_model(tmp_path_factory.mktemp("data"), train=40, val=20, size=(200, 300))
    (folder / "data" / "JPEGImages" / "damaged.jpg").write_bytes(b"damaged")
    return folder / "data"


def content(folder: Path) -> dict[str, list[bytes]]:
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: [line for line in text.splitlines() if b'"seconds"' not in line] for name, text in files.items()}


def finished(out: Path) -> list[str]:
    """Wait until something is finished, and return the ids that are."""
    folder, deadline = out / STATE / "checkpoints", time.monotonic() + 120
    while time.monotonic() < deadline:
        if found := [path for path in folder.glob("*.parquet") if ".pending" not in path.name]:
            return [name.split(" ")[0] for path in found for name in parquet.read_table(path)["id"].to_pylist()]
        time.sleep(0.02)
    raise TimeoutError


def kill_node(node: Any) -> None:
    """Kill all processes of a node at once."""
    top = [info.process.pid for kind in node.all_processes.values() for info in kind]
    for process in [process for pid in top for process in (*psutil.Process(pid).children(recursive=True), psutil.Process(pid))]:
        process.kill()


def test_a_driver_that_is_killed_goes_on(cluster: Any, data: Path, tmp_path: Path) -> None:
    out, masks = tmp_path / "many", tmp_path / "many" / "masks"
    command = [
        "evaluate",
        data.parent / "m.safetensors",
        "--data",
        data,
        "--split",
        "trainval",
        "--out",
        out,
        "--ray",
        cluster.address,
    ]
    options = [word for name, value in SLOWLY.items() for word in (f"--{name}", value)]
    driver = Forked([*command, *options])
    done = finished(out)
    driver.kill()
    driver.communicate(timeout=60)
    assert driver.returncode == -signal.SIGKILL
    assert 0 < len(done) < 60
    times = {name: (masks / f"{name}.png").stat().st_mtime_ns for name in done}
    again = Forked([*command, *options])
    text = again.communicate(timeout=200)[0]
    assert again.returncode == 0, text
    assert {name: (masks / f"{name}.png").stat().st_mtime_ns for name in done} == times
    vocseg.evaluate(data.parent / "m.safetensors", data, "trainval", out=tmp_path / "one", **SLOWLY)
    assert content(out) == content(tmp_path / "one")


def test_ctrl_c_ends_in_order(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = [word for name, value in SLOWLY.items() for word in (f"--{name}", value)]
    driver = Forked(
        [
            "predict",
            data / "JPEGImages",
            "--model",
            data.parent / "m.safetensors",
            "--out",
            out,
            "--ray",
            "local",
            "--actors",
            "1",
            *options,
        ]
    )
    finished(out)
    driver.send_signal(signal.SIGINT)
    text = driver.communicate(timeout=60)[0]
    assert driver.returncode == 130
    assert text.startswith("vocseg: interrupted; ")
    assert text.endswith(f" of 61 images done, in {out}\n")
    assert not list(out.rglob("*.part"))


def test_errors_of_actors_are_those_of_one_process(cluster: Any, data: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="precision float16 needs a GPU"):
        on_ray.predict(data / "JPEGImages", tmp_path, address=cluster.address, device="cpu", precision="float16")


def test_wrong_use_is_a_line(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SettingError, match="actors is 0, not a positive number"):
        on_ray.predict(data, tmp_path, actors=0)
    with pytest.raises(InputError, match="cannot use the Ray cluster at nowhere: "):
        on_ray.predict(data / "JPEGImages", tmp_path, address="nowhere")
    assert capfd.readouterr() == ("", "")


def test_without_ray_a_line_names_the_extra() -> None:
    code = "import sys; sys.modules['ray'] = None\nimport vocseg\ntry: vocseg.ray\nexcept vocseg.SettingError as e: print(e)"
    environment = os.environ | {"PYTHONPATH": str(Path(vocseg.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "Ray Data is not installed; pip install 'vocseg[ray]'\n"


def test_one_of_three_nodes_dies(cluster: Any, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = SLOWLY | {"model": data.parent / "m.safetensors", "formats": ("mask", "areas", "coco")}
    one = vocseg.predict(data / "JPEGImages", tmp_path / "one", **options)
    done: list[str] = []
    node = next(iter(cluster.worker_nodes))
    killer = threading.Thread(target=lambda: (done.extend(finished(tmp_path / "many")), kill_node(node)))
    killer.start()
    many = on_ray.predict(data / "JPEGImages", tmp_path / "many", address=cluster.address, **options)
    killer.join()
    assert 0 < len(done) < 60
    assert content(tmp_path / "many") == content(tmp_path / "one")
    assert [row.name for row in many.images] == [row.name for row in one.images]
    assert {str(key): str(error) for key, error in many.errors.items()} == {
        str(key): str(error) for key, error in one.errors.items()
    }
    assert len(many.errors) == 1
    assert capfd.readouterr() == ("", "")
