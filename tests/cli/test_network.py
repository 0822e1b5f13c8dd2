"""No verb opens a connection, except `data download` and weights that are named and not on the machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from verbs import TRAIN, Run
from vocseg import voc
from vocseg.cli.main import app, data

EVENTS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
seen: list[str] = []
watching = False


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if watching and event in EVENTS and not isinstance(arguments[-1], str | bytes):  # a path: processes of this machine
        seen.append(f"{event} {arguments}")


@pytest.fixture
def connections() -> Iterator[list[str]]:
    """What is looked up or connected to, also by threads whose errors nobody sees."""
    global watching
    if "hook" not in globals():
        globals()["hook"] = _note
        sys.addaudithook(_note)  # stays until the process ends
    seen.clear()
    watching = True
    yield seen
    watching = False


VERBS: dict[str, list[str]] = {
    "predict": ["DATA/JPEGImages", "--model", "MODEL", "--out", "OUT/masks"],
    "evaluate": ["MODEL", "--data", "DATA", "--save-masks", "OUT/masks", "--out", "OUT/val"],
    "score": ["OUT/masks", "--data", "DATA", "--out", "OUT/val-score"],
    "merge": ["OUT/shard", "--out", "OUT/merged"],
    "compare": ["OUT/val", "OUT/val-score"],
    "report": ["OUT/val"],
    "submit": ["vocseg-s", "--data", "DATA", "--split", "val", "--out", "OUT/val.tar.gz"],
    "train": ["--data", "DATA", *TRAIN, "--out", "OUT/run"],
    "export": ["MODEL", "--out", "OUT/a.onnx"],
    "bench": ["MODEL", "--size", "32x32", "--rounds", "1", "--no-memory"],
    "models": ["two_layer_net"],
    "demo": ["--no-train", "--out", "OUT/demo"],
    "data convert": ["DATA", "OUT/coco", "--to", "coco"],
    "data doctor": ["DATA", "--html", "OUT/d.html"],
    "data stats": ["DATA", "--out", "OUT/plots"],
    "data errors": ["DATA", "--model", "MODEL", "--split", "val", "--out", "OUT/errors"],
    "data show": ["DATA", "--out", "OUT/show.png"],
    "data pack": ["DATA", "--out", "OUT/shards"],
    "data unpack": ["OUT/shards", "--out", "OUT/unpacked"],
    "data synth": ["OUT/synth", "--train", "2", "--val", "1", "--size", "32x32"],
}


def test_every_verb_is_tried() -> None:
    names = [name for name in app if name not in ("data", "--help", "-h", "--version")]
    assert {*names, *(f"data {name}" for name in data if name[0] != "-")} - {*VERBS} == {
        "data download",
        "serve",
    }  # tests/app/serve watches serve


@pytest.mark.parametrize("verb", [pytest.param(verb, marks=[pytest.mark.slow] * (verb in ("export", "demo"))) for verb in VERBS])
def test_no_verb_opens_a_connection(
    verb: str, run: Run, connections: list[str], synth: Path, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.getbasetemp() / "network"
    if verb == "export":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    if verb == "score" and not (out / "masks").exists():
        assert run("evaluate", *(_filled(part, synth, model, out) for part in VERBS["evaluate"]))[0] == 0
    if verb == "merge":
        shard = ["--out", "OUT/shard", "--shard", "1/1"]
        assert run("evaluate", *(_filled(part, synth, model, out) for part in ["MODEL", "--data", "DATA", *shard]))[0] == 0
    code, _, err = run(*verb.split(), *(_filled(part, synth, model, out) for part in VERBS[verb]))
    assert code == 0, err
    assert connections == []


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_no_engine_opens_a_connection(
    engine: str, run: Run, connections: list[str], synth: Path, model: Path, tmp_path: Path
) -> None:
    pytest.importorskip(engine)
    pytest.importorskip("onnxscript")
    code, _, err = run("predict", synth / voc.IMAGES, "--model", model, "--engine", engine, "--out", tmp_path)
    assert code == 0, err
    assert connections == []


@pytest.mark.slow
def test_ray_opens_no_connection_to_other_machines(
    run: Run, connections: list[str], synth: Path, model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="ray is not installed (extra ray)")
    images = synth / voc.IMAGES
    code, _, err = run("predict", images, "--model", model, "--out", tmp_path, "--ray", "local", "--actors", "1")
    assert (code, err) == (0, "")
    assert [line for line in connections if "127.0.0.1" not in line and "localhost" not in line] == []


def test_connections_are_seen(connections: list[str]) -> None:
    import socket

    with pytest.raises(OSError, match=r".+"), socket.socket() as client:
        client.connect(("127.0.0.1", 1))
    assert len(connections) == 1


def _filled(part: str, data: Path, model: Path, out: Path) -> str:
    return part.replace("DATA", str(data)).replace("MODEL", str(model)).replace("OUT", str(out))
