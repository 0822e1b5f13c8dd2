"""YOLO's polygons, made here, must give the masks that they were made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.scenes import masks_of, photo, put, same, scenes
from vocseg.convert import convert
from vocseg.errors import DataError


def test_yolo_as_roboflow_lays_it_out(tmp_path: Path) -> None:
    """Folders train and valid, paths that lead one folder too far up, names as a list, gaps and overlaps."""
    made = scenes(5, 1)
    for number, name in enumerate(made):
        folder = tmp_path / "in" / ("train" if number < 3 else "valid")
        put(folder / "images" / f"{name}.jpg", photo(number))
        if number:  # the first has no text file: background only
            lines = "1 0 0 1 0 1 1 0 1\n0 0.25 0.25 0.5 0.25 0.5 0.5 0.25 0.5\n1 0.5 0.5 0.1 0.1\n\n"
            put(folder / "labels" / f"{name}.txt", lines)
            made[name][:] = 2
            made[name][6:12, 8:16] = 1  # the smaller is on top
    content = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 2\nnames: ['cat', 'dog']\n"
    put(tmp_path / "in" / "data.yaml", content)
    report = convert(tmp_path / "in", tmp_path / "out")
    assert same(masks_of(tmp_path / "out"), made)
    assert report.classes == ("background", "cat", "dog")
    assert report.splits == {"train": 3, "val": 2}
    notes = "\n".join(report.notes)
    assert "skipped: 4 boxes" in notes
    assert "1 image without annotations, all background" in notes
    assert "in/test/images" in notes


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("7 0 0 1 0 1 1", r"a.txt, line 1: class 7 is not one of the classes 0 to 1"),
        ("cat 0 0 1 0 1 1", r"a.txt, line 1: 'cat 0 0"),
        ("0 0 0 1 0 1", r"a.txt, line 1: 5 numbers are not a polygon"),
        ("0 0 0 1 0 nan 1", r"a.txt, line 1: 6 numbers are not a polygon"),
        ("0 0.5 0.5 0.1 0.1", r"only boxes for detection \(1\)"),
    ],
)
def test_broken_yolo(tmp_path: Path, line: str, message: str) -> None:
    put(tmp_path / "in" / "images" / "a.jpg", photo(0))
    put(tmp_path / "in" / "labels" / "a.txt", line)
    put(tmp_path / "in" / "data.yaml", "names: [cat, dog]\n")
    with pytest.raises(DataError, match=message):
        convert(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("names: [cat\n", "data.yaml is not YAML: "),
        ("names: {0: cat, 2: dog}\n", "neither a list of classes"),
        ("names:\n", "neither a list of classes"),
        ("names: [cat]\ntrain: far.txt\n", "far.txt"),
    ],
)
def test_broken_yolo_yaml(tmp_path: Path, content: str, message: str) -> None:
    put(tmp_path / "in" / "images" / "a.jpg", photo(0))
    put(tmp_path / "in" / "data.yaml", content)
    with pytest.raises(DataError, match=message):
        convert(tmp_path / "in" / "data.yaml", tmp_path / "out")


def test_same_names_in_folders_outside_of_the_yaml_files(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val")):
        put(tmp_path / "data" / split / "images" / "a.jpg", photo(number))
        put(tmp_path / "data" / split / "labels" / "a.txt", "0 0 0 1 0 1 1 0 1")
    put(tmp_path / "in" / "data.yaml", "path: ../data\ntrain: train/images\nval: val/images\nnames: [cat]\n")
    with pytest.raises(DataError, match=r"data\.yaml leads to .*/data, outside of its folder; --allow-outside"):
        convert(tmp_path / "in", tmp_path / "out")
    convert(tmp_path / "in", tmp_path / "out", allow_outside=True)
    assert list(masks_of(tmp_path / "out")) == ["data_train_images_a", "data_val_images_a"]


SQUARE = "0 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75"


def put_yolo(root: Path, content: str, labels: dict[str, str], encoding: str = "utf-8") -> Path:
    """Write ``images/<name>.jpg`` and ``labels/<name>.txt`` for each name, and data.yaml."""
    for number, (name, text) in enumerate(labels.items()):
        put(root / "images" / f"{name}.jpg", photo(number))
        path = root / "labels" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding=encoding)
    (root / "data.yaml").write_text(content, encoding=encoding)
    return root


@given(st.lists(st.sampled_from(["drawn", "box", "thin", "outside", "pixels", "stray"]), min_size=1, max_size=20))
@settings(deadline=None, max_examples=40)
def test_every_line_is_drawn_or_counted(tmp_path_factory: pytest.TempPathFactory, kinds: list[str]) -> None:
    """Each line has a class and a place of its own, so the labels of the masks are the lines that are drawn."""
    root = tmp_path_factory.mktemp("yolo")
    lines = {"a": "", "stray": ""}
    for label, kind in enumerate(["drawn", *kinds]):
        x, y = label % 5 / 5 + 0.02, label // 5 / 5 + 0.02
        corners = {
            "drawn": (x, y, x + 0.16, y, x + 0.16, y + 0.16, x, y + 0.16), "stray": (x, y, x + 0.1, y, x, y + 0.1),
            "box": (x + 0.08, y + 0.08, 0.1, 0.1), "thin": (x, y + 1e-4, x + 0.1, y, x, y), "pixels": (10, 10, 20, 10, 20, 20),
            "outside": (1.2 + x / 2, y, 1.3 + x / 2, y, 1.2 + x / 2, y + 0.1),
        }[kind]  # fmt: skip
        lines["stray" if kind == "stray" else "a"] += f"{label} {' '.join(map(str, corners))}\n"
    names = [f"c{label}" for label in range(len(kinds) + 1)]
    put_yolo(root / "in", f"names: {names}\n", lines)
    (root / "in" / "images" / "stray.jpg").unlink()
    report = convert(root / "in", root / "out", allow_skipped=True, splits=put_lists(root, "a"))
    shown = {int(label) for label in np.unique(masks_of(root / "out")["a"])} - {0, 255}
    assert len(shown) == 1 + kinds.count("drawn")
    assert len(shown) + sum(report.skipped.values()) == len(kinds) + 1
    wanted = {"outside the image": "outside", "too small": "thin", "without an outline": "box", "pixels instead": "pixels",
              "images that data.yaml": "stray"}  # fmt: skip
    for words, kind in wanted.items():
        assert sum(number for text, number in report.skipped.items() if words in text) == kinds.count(kind)


def put_lists(root: Path, *names: str) -> Path:
    return put(root / "lists" / "train.txt", "\n".join(names)).parent


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_class_numbers_and_names_of_other_writers(tmp_path: Path, encoding: str) -> None:
    """Class numbers as floats or padded, names by numbers as text, Windows line ends, a byte order mark."""
    square = SQUARE[1:]
    texts = {"a": f"00{square}\r\n1.0{square}\r\n", "b": f"\t2{square.replace(' ', chr(9))} \r\n\r\n"}
    root = put_yolo(tmp_path / "in", "names: {'00': cat, '02': 7, '1': ' dog '}\r\n", texts, encoding)
    report = convert(root, tmp_path / "out")
    assert report.classes == ("background", "cat", "dog", "7")
    assert [sorted(set(mask.ravel().tolist())) for mask in masks_of(tmp_path / "out").values()] == [[0, 2], [0, 3]]


@pytest.mark.parametrize(
    ("form", "entry"),
    [
        ("{root}/images/{name}.jpg", "{split}.txt"),
        ("./images/{name}.jpg", "{split}.txt"),
        ("images\\{name}.jpg", "{split}.txt"),
        ("/content/project/images/{name}.jpg", "/content/project/{split}.txt"),
        ("D:\\project\\images\\{name}.jpg", "D:\\project\\lists\\{split}.txt"),
        ("data/obj_train_data/{name}.jpg", "lists/{split}.txt"),
        ("images/{name}.jpg labels/{name}.txt", "./lists/{split}.txt"),
        ("../images/{name}.jpg", "lists/{split}.txt"),
        ('"images/{name}.jpg"', "{split}.txt"),
        ("{name}", "{split}.txt"),
    ],
)
def test_lists_of_other_writers(tmp_path: Path, form: str, entry: str) -> None:
    root = put_yolo(
        tmp_path / "in", "names: [cat]\n" + "".join(f"{split}: {entry.format(split=split)}\n" for split in ("train", "val")),
        dict.fromkeys(("a", "b c", "d"), SQUARE),
    )  # fmt: skip
    for split, names in {"train": ["a", "b c"], "val": ["d"]}.items():
        path = root / ("lists" if "lists" in entry else "") / f"{split}.txt"
        put(path, "\n".join(form.format(root=root, name=name) for name in names if " " not in name or " labels" not in form))
    report = convert(root, tmp_path / "out")
    assert report.splits == {"train": 1 if " labels" in form else 2, "val": 1}
    assert (masks_of(tmp_path / "out")["d"] == 1).sum() == 12 * 16


def test_a_listed_name_in_two_folders_names_both(tmp_path: Path) -> None:
    root = put_yolo(tmp_path / "in", "names: [cat]\ntrain: train.txt\n", {"x/a": SQUARE, "y/a": SQUARE})
    put(root / "train.txt", "/content/a.jpg\n")
    with pytest.raises(DataError, match=r"image '/content/a.jpg' of .*train.txt may be .*x/a.jpg or .*y/a.jpg"):
        convert(root, tmp_path / "out")


def test_names_beside_the_text_files_and_no_yaml(tmp_path: Path) -> None:
    """As Label Studio exports it."""
    root = put_yolo(tmp_path / "in", "", {"a": SQUARE, "b": "1" + SQUARE[1:]})
    (root / "data.yaml").unlink()
    put(root / "classes.txt", "cat\ndog\n")
    report = convert(root, tmp_path / "out")
    assert (report.kind, report.classes) == ("yolo", ("background", "cat", "dog"))


def test_only_a_number_of_classes(tmp_path: Path) -> None:
    assert convert(put_yolo(tmp_path / "in", "nc: 2\n", {"a": SQUARE, "b": SQUARE}), tmp_path / "out").classes == (
        "background", "class_0", "class_1",
    )  # fmt: skip


def test_two_yaml_files_are_ambiguous_unless_one_is_called_data(tmp_path: Path) -> None:
    root = put_yolo(tmp_path / "in", "names: [cat]\n", {"a": SQUARE, "b": SQUARE})
    put(root / "coco.yaml", "names: [dog]\n")
    assert convert(root, tmp_path / "one").classes == ("background", "cat")
    (root / "data.yaml").rename(root / "set.yaml")
    with pytest.raises(DataError, match=r"coco.yaml and .*set.yaml both describe a YOLO data set"):
        convert(root, tmp_path / "two")
    assert convert(root / "set.yaml", tmp_path / "two").classes == ("background", "cat")


def test_key_points_are_not_corners(tmp_path: Path) -> None:
    root = put_yolo(tmp_path / "in", "names: [cat]\nkpt_shape: [2, 2]\n", {"a": SQUARE, "b": SQUARE})
    with pytest.raises(DataError, match=r"all objects of .* are skipped: 2 boxes with key points, but no outline"):
        convert(root, tmp_path / "out")


ALIASES = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ALIASES + "names: [*a8]\n", "data.yaml is not YAML: its aliases stand for more than"),
        ("names: [[cat]]\n", "the name of class 0 is a list instead of text"),
        ("a: &a {x: 1}\nb: {<<: [*a, *a]}\nnames: [cat]\n", r"data.yaml is not YAML: merge keys \(<<\) are not supported"),
        ("names: {0: cat, x: dog}\n", "neither a list of classes"),
        ("names: {0: cat, [1]: dog}\n", "data.yaml is not YAML: "),
        ("names: [cat]\nday: 2024-99-99\n", "data.yaml is not YAML: "),
        ("names: [cat]\nday: !!int abc\n", "data.yaml is not YAML: "),
        ("names: [cat]\ndeep: " + "[" * 5000 + "\n", "data.yaml is not YAML: "),
        ("names: [cat]\nrun: !!python/object/apply:os.system [ls]\n", "data.yaml is not YAML: "),
        ("text: |\n  a\nother: 'x\n\n  names: y'\n", "neither a list of classes"),
        ("names: [cat, no]\n", "the name of class 1 is 'False' instead of text; put names in quotes"),
        ("names: [cat, null]\n", "the name of class 1 is a NoneType instead of text"),
        ("names: [cat, ' cat']\n", "classes 0 and 1 are both called"),
        ("names: [cat]\ntrain: {a: b}\n", "'train' is not a path or a list of paths"),
        ("names: [cat]\ntrain: 2024\n", "'train' is not a path or a list of paths"),
        ("names: [cat]\npath: [a]\n", "'path' is not the name of a folder"),
        ("nc: 1000000000000\n", "neither a list of classes"),
    ],
)
def test_hostile_yaml(tmp_path: Path, content: str, message: str) -> None:
    root = put_yolo(tmp_path / "in", content, {"a": SQUARE, "b": SQUARE})
    with pytest.raises(DataError, match=message):
        convert(root, tmp_path / "out", kind="yolo")


@pytest.mark.parametrize("entry", ["train: {outside}", "train: {outside}/list.txt", "path: {outside}\ntrain: ."])
def test_paths_that_lead_outside_are_refused_unread(tmp_path: Path, entry: str) -> None:
    put(tmp_path / "secret" / "list.txt", "PASSWORD\n")
    put(tmp_path / "secret" / "a.jpg", photo(0))
    root = put_yolo(
        tmp_path / "in", f"names: [cat]\n{entry.format(outside=tmp_path / 'secret')}\n", {"a": SQUARE, "b": SQUARE}
    )  # fmt: skip
    with pytest.raises(DataError, match=r"leads to .*secret.*, outside of its folder; --allow-outside reads it"):
        convert(root, tmp_path / "out")


def test_linked_text_files_outside_are_refused_unread(tmp_path: Path) -> None:
    put(tmp_path / "secret.txt", "PASSWORD\n")
    root = put_yolo(tmp_path / "in", "names: [cat]\n", {"a": SQUARE, "b": SQUARE})
    (root / "labels" / "a.txt").unlink()
    (root / "labels" / "a.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(DataError, match=r"leads to .*secret.txt, outside of its folder"):
        convert(root, tmp_path / "out")
    with pytest.raises(DataError, match=r"line 1: 'PASSWORD' is not a class number"):
        convert(root, tmp_path / "out", allow_outside=True)
