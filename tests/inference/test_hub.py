"""``hf://`` against a server that answers as the Hugging Face Hub does, read by huggingface_hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import vocseg
from hub_server import HubServer
from vocseg.data.samples import FOLDER
from vocseg.errors import DataError
from vocseg.models import save_model
from vocseg.utils import remote

pytest.importorskip("huggingface_hub", reason="needs huggingface_hub")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """The server; it holds the sample images as a data set."""
    import fsspec

    server = HubServer()
    for path in FOLDER.rglob("*.*"):
        server.files[f"datasets/me/voc/samples/{path.relative_to(FOLDER).as_posix()}"] = path.read_bytes()
    monkeypatch.setitem(fsspec.config.conf, "hf", {"endpoint": server.url, "token": False})
    monkeypatch.setattr(remote, "DELAYS", (0.0, 0.0, 0.0))
    yield server
    server.stop()


def test_images_model_and_data_of_a_hub(hub: HubServer, tmp_path: Path) -> None:
    network, url = vocseg.create_model("two_layer_net"), "hf://datasets/me/voc/samples"
    save_model(tmp_path / "net.safetensors", network)
    hub.files["me/net/net.safetensors"] = (tmp_path / "net.safetensors").read_bytes()
    hub.files["datasets/me/voc/list.txt"] = b"samples/JPEGImages/camera.jpg\n"
    one = vocseg.predict(FOLDER / "JPEGImages", tmp_path / "one", model=network, device="cpu")
    two = vocseg.predict(f"{url}/JPEGImages/", tmp_path / "two", model="hf://me/net/net.safetensors", device="cpu")
    two.check()
    for row, other in zip(one.images, two.images, strict=True):
        assert other.image == f"{url}/JPEGImages/{Path(row.image).name}"
        assert Path(other.mask).read_bytes() == Path(row.mask).read_bytes()
    listed = vocseg.predict("hf://datasets/me/voc/list.txt", tmp_path / "three", model=network, device="cpu")
    assert [row.name for row in listed.images] == ["camera.jpg"]
    losses = {vocseg.evaluate(network, data, "samples", device="cpu").loss for data in (url, FOLDER)}
    assert len(losses) == 1
    for missing in ("hf://datasets/me/voc/none.jpg", "hf://datasets/me/nothing/a.jpg"):
        with pytest.raises(DataError, match=rf"^cannot read {missing}: there is no such file"):
            remote.read_bytes(missing)


def test_contents_of_one_size_are_told_apart(hub: HubServer) -> None:
    hub.files["datasets/me/voc/a.txt"] = b"one"
    (before,) = remote.find("hf://datasets/me/voc/a.txt")
    hub.files["datasets/me/voc/a.txt"] = b"two"
    (after,) = remote.find("hf://datasets/me/voc/a.txt")
    assert (before.size, after.size) == (3, 3)
    assert before.stamp != after.stamp
