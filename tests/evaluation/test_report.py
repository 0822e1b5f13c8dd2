"""Pages about results: what they say, that they load nothing, that names are text, that they stay small."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import vocseg
from vocseg import draw, voc
from vocseg.data.dataset import SplitDataset
from vocseg.data.image_io import read_mask
from vocseg.errors import DataError, InputError, OutputError
from vocseg.evaluation import pictures
from vocseg.evaluation.charts import bar, confusions, curve, difference_bar
from vocseg.evaluation.pictures import FALSE, MISSED, SWAPPED, Pictures
from vocseg.evaluation.record import Record
from vocseg.evaluation.result import Evaluation
from vocseg.evaluation.statistics import Interval
from vocseg.utils.text import percent

EMPTY = {"meta", "img", "br"}
DRAWN = {"path", "rect", "circle", "polyline"}


class Page(HTMLParser):
    """Elements of a page, checked to be nested well."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = path.read_text()
        self.feed(self.text)
        assert not self.open
        self.ids = [attributes["id"] for _, attributes in self.tags if "id" in attributes]
        self.links = [attributes["href"] or "" for tag, attributes in self.tags if tag == "a"]
        self.images = [attributes for tag, attributes in self.tags if tag == "img"]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in DRAWN
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def folders(val_set: SplitDataset, tmp_path: Path) -> tuple[Path, Path]:
    """Results of two untrained networks."""
    for name, model in (("a", "two_layer_net"), ("b", "simple_conv_net")):
        network = vocseg.create_model(model, val_set.classes, "none")
        vocseg.evaluate(network, val_set, device="cpu", out=tmp_path / name)
    return tmp_path / "a", tmp_path / "b"


def test_one_result(folders: tuple[Path, Path], val_set: SplitDataset) -> None:
    path = vocseg.report(folders[0], data=val_set.folder.root)
    assert path == folders[0] / "report.html"
    page, result = Page(path), Evaluation.load(folders[0])
    assert f"{percent(result.miou)} %" in page.text
    for row in result.scores.per_class:
        assert f"<td>{percent(row.iou)}</td>" in page.text
    assert len(set(page.ids)) == len(page.ids)
    assert {f"#{name}" for name in page.ids} >= set(page.links)
    assert {f"#class-{label}" for label in range(len(val_set.classes))} <= set(page.links)
    shown = [attributes for attributes in page.images if str(attributes["src"]).startswith(("data:image/jpeg", "data:image/png"))]
    assert len(shown) == 4 * 4  # image, truth, prediction, errors of four images, each once
    assert {str(attributes["alt"]).split(" of ")[0] for attributes in shown} == {"image", "truth", "prediction", "errors"}


def test_it_loads_nothing_and_says_no_absolute_path(folders: tuple[Path, Path], val_set: SplitDataset, tmp_path: Path) -> None:
    for arguments in ((folders[0],), folders):
        page = Page(vocseg.report(*arguments, data=val_set.folder.root))
        assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "form", "base"}
        for _, attributes in page.tags:
            assert not [name for name in attributes if name.startswith("on")]
            assert str(attributes.get("src", "data:")).startswith("data:")
            assert str(attributes.get("href", "#")).startswith("#")
        assert "url(" not in page.text
        assert "@import" not in page.text
        assert str(tmp_path) not in page.text
        assert "prefers-color-scheme:dark" in page.text


def test_two_results(folders: tuple[Path, Path], val_set: SplitDataset, tmp_path: Path) -> None:
    path = vocseg.report(*folders, out=tmp_path / "c.html", data=val_set.folder.root)
    page, found = Page(path), vocseg.compare(*folders)
    assert f"{100 * (found.miou.difference or 0):+.2f}" in page.text
    assert f"{found.p_value:.4f}" in page.text
    for row in found.per_class.values():
        assert f"<td>{100 * (row.difference or 0):+.2f}</td>" in page.text
    assert {str(attributes["alt"]).split(" of ")[0] for attributes in page.images} >= {"truth", "A", "B", "change"}
    same = Page(vocseg.report(folders[0], folders[0], out=tmp_path / "same.html"))
    assert "None." in same.text


def test_without_the_images(folders: tuple[Path, Path], val_set: SplitDataset, tmp_path: Path) -> None:
    shutil.rmtree(folders[0] / "masks")
    text = vocseg.report(folders[0]).read_text()
    assert "the predicted masks are not at hand" in text
    assert "data:image/jpeg" not in text
    text = vocseg.report(folders[1]).read_text()  # the data set is known by its name only
    assert "their data set is not at hand" in text
    with pytest.raises(DataError, match="does not exist"):
        vocseg.report(folders[1], data=tmp_path / "nothing")


def test_other_ground_truth_is_refused_and_another_folder_of_it_found(
    folders: tuple[Path, Path], damaged: Path, tmp_path: Path
) -> None:
    masks = damaged / voc.MASKS
    shutil.copytree(masks, damaged / f"{voc.MASKS}Aug")
    for path in masks.iterdir():
        draw.save_mask(torch.zeros_like(read_mask(path)), path)
    assert Page(vocseg.report(folders[0], data=damaged)).images
    shutil.rmtree(damaged / f"{voc.MASKS}Aug")
    with pytest.raises(DataError, match=r"does not hold the ground truth of .* that was scored: name its data set \(--data\)"):
        vocseg.report(folders[0], data=damaged)


def test_no_room_for_more_pictures(folders: tuple[Path, Path], val_set: SplitDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = Page(vocseg.report(folders[0], data=val_set.folder.root))
    monkeypatch.setattr(pictures, "ROOM", 20_000)
    page = Page(vocseg.report(folders[0], data=val_set.folder.root))
    assert 1 < len(page.images) < len(everything.images)
    assert all(name in page.text for name in val_set.names)


def record(images: int, classes: tuple[str, ...], seed: int = 0) -> Record:
    random = np.random.default_rng(seed)
    matrices = random.integers(0, 99, (images, len(classes), len(classes))).astype(np.int32)
    return Record(classes, tuple(f"{place:05}" for place in range(images)), ("",) * images, matrices, np.zeros(images))


@pytest.mark.parametrize(("images", "classes"), [(1449, 21), (3, 254)])
def test_a_large_page_leaves_room_for_its_pictures(tmp_path: Path, images: int, classes: int) -> None:
    names = ("background", *(f"a rather long class name {label}" for label in range(1, classes)))
    Evaluation.from_record(record(images, names), "val", {"model": "m"}).save(tmp_path)
    page = Page(vocseg.report(tmp_path))
    assert len(page.text) + pictures.ROOM < 3_000_000


def test_names_are_text(tmp_path: Path) -> None:
    bad = '<script>alert(1)</script>"&\x1b[2J'
    own = record(3, ("background", bad))
    own = Record(own.classes, (f"{bad}1", f"{bad}2", f"{bad}3"), own.truth, own.matrices, own.loss)
    for name in ("a", "b"):
        Evaluation.from_record(own, bad, {"model": bad, "data": bad}).save(tmp_path / name)
    for arguments in ((tmp_path / "a",), (tmp_path / "a", tmp_path / "b")):
        page = Page(vocseg.report(*arguments))
        assert "script" not in {tag for tag, _ in page.tags}
        assert "&lt;script&gt;" in page.text
        assert "\x1b" not in page.text


def test_what_cannot_be_written_or_read(folders: tuple[Path, Path], tmp_path: Path) -> None:
    vocseg.report(folders[0])
    vocseg.report(folders[0])  # its own page may be replaced
    (tmp_path / "notes.html").write_text("mine")
    for out in (tmp_path / "notes.html", folders[0] / "scores.json", min((folders[0] / "masks").iterdir())):
        with pytest.raises(OutputError):
            vocseg.report(folders[0], out=out)
    with pytest.raises(DataError, match=r"scores\.json"):
        vocseg.report(tmp_path / "nothing")
    Evaluation.from_record(record(3, ("background", "cat")), "val", {}).save(tmp_path / "other")
    with pytest.raises(InputError):
        vocseg.report(folders[0], tmp_path / "other")


def test_errors_are_painted_by_kind(val_set: SplitDataset) -> None:
    own = Record(("background", "cat", "dog"), (), (), np.zeros((0, 3, 3), np.int32), np.zeros(0))
    truth = np.array([[0, 0, 1, 1, 1, 255, 2]], np.uint8)
    guess = np.array([[0, 1, 1, 0, 2, 1, 0]], np.uint8)
    painted = Pictures(val_set.folder, [], own)._errors(truth, guess)
    kinds = [next((color for color, mask in painted.items() if mask[0, place]), None) for place in range(7)]
    assert kinds == [None, FALSE, None, MISSED, SWAPPED, None, MISSED]
    assert sum(mask.astype(int) for mask in painted.values()).max() == 1


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_bars_are_as_long_as_their_values(value: float, low: float, high: float) -> None:
    low, high = sorted((low, high))
    numbers = re.findall(r'width="([\d.]+)"', bar(value, Interval(low, high)))
    assert float(numbers[0]) == pytest.approx(100 * value, abs=0.06)
    whisker = re.search(r"M([\d.]+) 5H([\d.]+)", bar(value, Interval(low, high)))
    assert whisker
    assert [float(number) for number in whisker.groups()] == pytest.approx([100 * low, 100 * high], abs=0.06)
    drawn = difference_bar(value - 0.5, None, 0.5)
    length = re.search(r'x="([\d.]+)" y="2" width="([\d.]+)"', drawn)
    assert length
    start, width = map(float, length.groups())
    assert width == pytest.approx(100 * abs(value - 0.5), abs=0.06)
    assert start == pytest.approx(min(50, 100 * value), abs=0.06)


def test_nothing_to_draw() -> None:
    assert "rect" not in bar(None)
    assert 'width="0.0"' in difference_bar(None, None, 0.0)
    assert "<circle" not in curve([{1: None, 2: None}], "t", "x")
    assert not list(confusions(np.eye(3, dtype=np.int64), ("a", "b", "c"), 5))


def test_the_largest_confusions_come_first() -> None:
    matrix = np.array([[90, 10, 0], [30, 70, 0], [5, 0, 5]])
    rows = list(confusions(matrix, ("a", "b", "c"), 2))
    assert [re.findall(r">([^<>]+)</td>", row) for row in rows] == [["b", "a", "30.00", "30"], ["a", "b", "10.00", "10"]]
