"""Images of a real Ray cluster of three nodes on this machine against one process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

import vocseg
from vocseg.errors import InputError, SettingError
from vocseg.inference.remote import STATE

pytest.importorskip("ray", reason="ray is not installed (extra ray)")
pytest.importorskip("psutil", reason="psutil is not installed")
pytest.importorskip("s3fs", reason="s3fs is not installed")
import psutil
from fsspec.core import url_to_fs
from pyarrow import parquet
from ray.cluster_utils import Cluster
from s3fs import S3FileSystem

from forked import Forked
from s3_server import S3Server
from verbs import data_and_model
from vocseg import ray as on_ray
from vocseg import voc
from vocseg.utils import staging

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="Ray's clusters for tests run on Linux")]
OPTIONS: dict[str, Any] = {"device": "cpu", "engine": "torch"}
WORDS = ["--device", "cpu", "--engine", "torch", "--actors", 1]
"""Options of a command; an actor gets blocks of a fourth of the images."""
FAST_CHECKS = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500, "health_check_failure_threshold": 6}
GATE = """
import os, time
from pathlib import Path
from vocseg import draw

folder, saved, save = Path(__file__).parent, [], draw.save_mask

def save_mask(*arguments, **options):
    save(*arguments, **options)
    saved.append(1)
    while len(saved) > FREE and not (folder / "open").exists():
        (folder / f"waiting-{os.getpid()}").touch()
        time.sleep(0.02)

draw.save_mask = save_mask
"""


class Gate:
    """Code that actors import: each writes ``free`` masks, and one more when the gate opens, and all others."""

    def __init__(self, folder: Path, free: int) -> None:
        self.folder, self.code = folder, folder / "gate.py"
        folder.mkdir()
        self.code.write_text(GATE.replace("FREE", str(free)))

    def wait(self, actors: int, driver: Forked | None = None) -> None:
        """Wait until so many actors wait, or the driver has ended."""
        until(lambda: len(list(self.folder.glob("waiting-*"))) >= actors or (driver and driver.poll() is not None))

    def open(self) -> None:
        (self.folder / "open").touch()


def until(check: Callable[[], Any]) -> Any:
    """Return what is true at last."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if found := check():
            return found
        time.sleep(0.02)
    raise TimeoutError


@pytest.fixture(autouse=True)
def _no_user_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what other tests have imported, which processes of the cluster would import too."""
    monkeypatch.setattr("vocseg.utils.user_code._imported", [])


@pytest.fixture(scope="module")
def cluster(s3_server: S3Server) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", str(Path(vocseg.__file__).parents[1]))
        head = {"num_cpus": 1, "include_dashboard": False, "_system_config": FAST_CHECKS}
        nodes = Cluster(initialize_head=True, head_node_args=head)
        nodes.add_node(num_cpus=1)
        nodes.add_node(num_cpus=1, num_gpus=1)
        nodes.wait_for_nodes()
        yield nodes
        nodes.shutdown()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four images, with a damaged one beside them, and a model."""
    folder = data_and_model(tmp_path_factory.mktemp("data"), train=14, val=10)
    (folder / "data" / "JPEGImages" / "damaged.jpg").write_bytes(b"damaged")
    return folder / "data"


def content(folder: Path | str) -> dict[str, list[bytes]]:
    """Return the lines of the files in a folder or at a URL, except those that tell times or the folder."""
    system, top = url_to_fs(str(folder), use_listings_cache=False)
    files = {name.removeprefix(top): system.cat_file(name) for name in system.find(top)}
    return {name: [line for line in text.splitlines() if b'"seconds"' not in line] for name, text in files.items()}


def finished(out: Path | str) -> list[str]:
    """Wait until something is finished, and return the ids that are."""
    system, folder = url_to_fs(f"{out}/{STATE}/checkpoints", use_listings_cache=False)

    def files() -> list[str]:
        return [name for name in system.find(folder) if name.endswith(".parquet") and ".pending" not in name]

    return [
        name.split(" ")[0] for file in until(files) for name in parquet.read_table(BytesIO(system.cat_file(file)))["id"].to_pylist()
    ]


def kill_node(node: Any) -> None:
    """Kill all processes of a node at once."""
    top = [info.process.pid for kind in node.all_processes.values() for info in kind]
    for process in [process for pid in top for process in (*psutil.Process(pid).children(recursive=True), psutil.Process(pid))]:
        process.kill()


def some_done(driver: Forked, out: Path | str, gate: Gate) -> list[str]:
    """Wait until one of the four blocks of a command's images is finished, and the next is in work; return the ids."""
    gate.wait(1, driver)
    assert driver.poll() is None, driver.communicate()[0]
    done = finished(out)
    assert 5 <= len(done) <= 7
    return done


def test_a_driver_that_is_killed_goes_on(cluster: Any, data: Path, bucket: str, s3: S3Server, tmp_path: Path) -> None:
    vocseg.pack(data, f"{bucket}/packed")
    out, gate = f"{bucket}/many", Gate(tmp_path / "gate", 8)
    command = ["--import", gate.code, "evaluate", data.parent / "m.safetensors", "--data", f"{bucket}/packed"]
    command += ["--split", "trainval", "--out", out, "--ray", cluster.address, *WORDS]
    done = some_done(driver := Forked(command), out, gate)
    driver.kill()
    driver.communicate(timeout=60)
    assert driver.returncode == -signal.SIGKILL
    gate.open()
    s3.seen.clear()
    again = Forked(command)
    text = again.communicate(timeout=200)[0]
    assert again.returncode == 0, text
    written = {Path(path).stem for method, path in s3.seen if method == "PUT" and path.endswith(".png")}
    assert written == {path.stem for path in (data / voc.MASKS).glob("*.png")} - {*done}
    vocseg.evaluate(data.parent / "m.safetensors", f"{bucket}/packed", "trainval", out=f"{bucket}/one", **OPTIONS)
    assert content(out) == content(f"{bucket}/one")


def test_ctrl_c_ends_in_order(cluster: Any, data: Path, tmp_path: Path) -> None:
    """It is a cluster of the command's own; that of the tests goes on."""
    out, gate = tmp_path / "many", Gate(tmp_path / "gate", 8)
    command = ["--import", gate.code, "predict", data / "JPEGImages", "--model", data.parent / "m.safetensors", "--out", out]
    done = some_done(driver := Forked([*command, "--ray", "local", *WORDS]), out, gate)
    driver.send_signal(signal.SIGINT)
    text = driver.communicate(timeout=60)[0]
    assert driver.returncode == 130
    assert text.startswith("vocseg: interrupted; ")
    assert text.endswith(f" of 25 images done, in {out}\n")
    assert not list(out.rglob("*.part"))
    gate.open()
    times = {name: file.stat().st_mtime_ns for name in done if (file := out / f"{name}.png").exists()}
    again = Forked([*command, "--ray", cluster.address, *WORDS])
    text = again.communicate(timeout=200)[0]
    assert again.returncode == 2, text  # the damaged one
    assert {name: (out / f"{name}.png").stat().st_mtime_ns for name in times} == times
    vocseg.predict(data / "JPEGImages", tmp_path / "one", model=data.parent / "m.safetensors", **OPTIONS)
    assert content(out) == content(tmp_path / "one")


def test_a_gpu_is_asked_for(cluster: Any, data: Path, tmp_path: Path) -> None:
    """A node says that it has one; if that is not true, its actor computes on the CPU."""
    options: dict[str, Any] = {"model": data.parent / "m.safetensors", "engine": "torch", "precision": "float32"}
    vocseg.predict(data / "JPEGImages", tmp_path / "one", **options)
    on_ray.predict(data / "JPEGImages", tmp_path / "many", address=cluster.address, **options)
    assert content(tmp_path / "many") == content(tmp_path / "one")


def test_errors_of_actors_are_those_of_one_process(cluster: Any, data: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="precision float16 needs a GPU"):
        on_ray.predict(data / "JPEGImages", tmp_path, address=cluster.address, actors=1, device="cpu", precision="float16")


def test_wrong_use_is_a_line(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SettingError, match="actors is 0, not a positive number"):
        on_ray.predict(data, tmp_path, actors=0)
    with pytest.raises(SettingError, match="has a memory:// of its own; write to a disk or a store, not to memory://masks"):
        on_ray.RayCluster()._prepare(None, {}, staging.stage("memory://masks") / STATE)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cannot use the Ray cluster at nowhere: "):
        on_ray.predict(data / "JPEGImages", tmp_path, address="nowhere")
    with pytest.raises(InputError, match=r"cluster at 127\.0\.0\.1:1: Connection refused; name HOST:PORT, or local"):
        on_ray.predict(data / "JPEGImages", tmp_path, address="127.0.0.1:1")
    assert capfd.readouterr() == ("", "")


def test_without_ray_a_line_names_the_extra() -> None:
    code = "import sys; sys.modules['ray'] = None\nimport vocseg\ntry: vocseg.ray\nexcept vocseg.SettingError as e: print(e)"
    environment = os.environ | {"PYTHONPATH": str(Path(vocseg.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "Ray Data is not installed; pip install 'vocseg[ray]'\n"


@pytest.fixture
def photos(data: Path, bucket: str, tmp_path: Path) -> list[str]:
    """A folder and an archive in a store."""
    with ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(next((data / "JPEGImages").glob("*1.jpg")), "zipped.jpg")
    S3FileSystem().put(str(data / "JPEGImages"), f"{bucket}/photos", recursive=True)
    S3FileSystem().put(str(tmp_path / "more.zip"), f"{bucket}/more.zip")
    S3FileSystem().put(str(data.parent / "m.safetensors"), f"{bucket}/m.safetensors")
    return [f"{bucket}/photos", f"{bucket}/more.zip"]


def test_one_of_three_nodes_dies(
    cluster: Any, photos: list[str], bucket: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them has a block of three images in its hands; all is in a store."""
    options = OPTIONS | {"model": f"{bucket}/m.safetensors", "formats": ("mask", "areas", "coco")}
    one = vocseg.predict(photos, f"{bucket}/one", **options)
    gate, node, done = Gate(tmp_path / "gate", 4), next(iter(cluster.worker_nodes)), list[str]()
    monkeypatch.setattr("vocseg.utils.user_code._imported", [str(gate.code)])

    def kill() -> None:
        gate.wait(3)
        done.extend(finished(f"{bucket}/many"))
        kill_node(node)
        gate.open()

    killer = threading.Thread(target=kill)
    killer.start()
    many = on_ray.predict(photos, f"{bucket}/many", address=cluster.address, **options)
    killer.join()
    assert 0 < len(done) < 26
    assert content(f"{bucket}/many") == content(f"{bucket}/one")
    assert [row.name for row in many.images] == [row.name for row in one.images]
    errors = [{str(key): str(error) for key, error in result.errors.items()} for result in (many, one)]
    assert errors[0] == errors[1]
    assert len(many.errors) == 1
    assert capfd.readouterr() == ("", "")
