"""Which labels become which classes, and which are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.scenes import COLORS, HEIGHT, WIDTH, colored, in_folders, masks_of, photo, put, put_images, same, scenes
from vocseg.convert import convert
from vocseg.errors import DataError, SettingError


def test_void_in_the_middle_closes_up(tmp_path: Path) -> None:
    made = scenes(4, 5)
    put_images(tmp_path / "in" / "images", made)
    for name, mask in made.items():
        put(tmp_path / "in" / "masks" / f"{name}.png", mask)
    put(tmp_path / "in" / "classes.txt", "ground\nignore\ncar\nbus\ncat\n")
    report = convert(tmp_path / "in", tmp_path / "out", void=("ignore", "3"))
    assert report.classes == ("ground", "car", "cat")
    wanted = {name: np.array([0, 255, 1, 255, 2], dtype=np.uint8)[mask] for name, mask in made.items()}
    assert same(masks_of(tmp_path / "out"), wanted)


def test_classes_choose_and_order_what_has_names(tmp_path: Path) -> None:
    made = scenes()
    put_images(tmp_path / "in" / "images", made)
    for name, mask in made.items():
        put(tmp_path / "in" / "masks" / f"{name}.png", colored(mask))
    put(tmp_path / "in" / "class_dict.csv", "name,r,g,b\n" + "\n".join(f"{n},{r},{g},{b}" for n, (r, g, b) in COLORS.items()))
    with pytest.raises(DataError, match=r"holds label 3 .* class 'mark', which is not in --classes; --others background"):
        convert(tmp_path / "in", tmp_path / "out", classes=("car", "sky", "road"))
    with pytest.raises(SettingError, match=r"class 'rode' is not in the source; did you mean 'road'"):
        convert(tmp_path / "in", tmp_path / "out", classes=("car", "sky", "rode"))
    with pytest.raises(SettingError, match=r"void 'marc' is neither a label nor a class; did you mean 'mark'"):
        convert(tmp_path / "in", tmp_path / "out", void=("marc",))
    assert not (tmp_path / "out").exists()
    convert(tmp_path / "in", tmp_path / "out", classes=("car", "sky", "road"), void=("mark",))
    wanted = {name: np.array([1, 2, 0, 255], dtype=np.uint8)[mask] for name, mask in made.items()}
    assert same(masks_of(tmp_path / "out"), wanted)


def test_labels_out_of_range(roads: Path, tmp_path: Path) -> None:
    names = tuple("abcdefghijk")
    message = r"scene_000_L\.png holds label 11 \(48 pixels, the first at x=4, y=21\), which is not a class \(classes are 0 to 10\)"
    with pytest.raises(DataError, match=message):
        convert(roads, tmp_path / "out", classes=names)
    assert convert(roads, tmp_path / "out", classes=names, void=("11",)).classes == names


def test_gray_levels_and_binary_masks_are_not_guessed_at(tmp_path: Path) -> None:
    for folder, levels in (("gray", [0, 38, 75, 113]), ("binary", [0, 255, 255, 255]), ("void", [255] * 4)):
        made = scenes(3)
        put_images(tmp_path / folder / "images", made)
        for name, mask in made.items():
            put(tmp_path / folder / "masks" / f"{name}.png", np.array(levels, dtype=np.uint8)[mask])
    with pytest.raises(DataError, match=r"have 4 labels up to 113 \(0, 38, 75, 113\), which are not consecutive class ids"):
        convert(tmp_path / "gray", tmp_path / "out")
    with pytest.raises(DataError, match="hold 0 and 255 only"):
        convert(tmp_path / "binary", tmp_path / "out")
    with pytest.raises(DataError, match=r"every mask of .* is void"):
        convert(tmp_path / "void", tmp_path / "out")
    table = put(tmp_path / "table.csv", "background,0,0,0\nthing,255,255,255\n")
    assert convert(tmp_path / "binary", tmp_path / "out", colors=table).classes == ("background", "thing")


def test_binary_masks_are_not_guessed_at_when_classes_are_named(tmp_path: Path) -> None:
    made = {name: np.where(mask > 0, 255, 0).astype(np.uint8) for name, mask in scenes().items()}
    with pytest.raises(DataError, match="hold 0 and 255 only"):
        convert(in_folders(tmp_path / "in", made), tmp_path / "out", classes=("background", "car"))
    assert not (tmp_path / "out").exists()


def labelme(root: Path, *labels: str) -> Path:
    """Write a LabelMe file with a square of each label side by side."""
    for number in range(2):
        put(root / f"p{number}.jpg", photo(number))
        corners = [[[8 * left, 0], [8 * left + 7, 7]] for left in range(len(labels))]
        shapes = [{"label": name, "shape_type": "rectangle", "points": c} for name, c in zip(labels, corners, strict=True)]
        put(root / f"p{number}.json", {"imageHeight": HEIGHT, "imageWidth": WIDTH, "imagePath": f"p{number}.jpg", "shapes": shapes})
    return root


def counts(out: Path) -> dict[int, int]:
    values, numbers = np.unique(masks_of(out)["p0"], return_counts=True)
    return dict(zip(values.tolist(), numbers.tolist(), strict=True))


REST = HEIGHT * WIDTH - 2 * 64


def test_batches_of_one_project_get_the_same_ids(tmp_path: Path) -> None:
    """Classes that no image shows yet keep their ids; LabelMe's own labels.txt is read as LabelMe reads it."""
    labels = put(tmp_path / "labels.txt", "__ignore__\n_background_\nbird\ncat\ndog\n")
    for number, batch in enumerate((("dog", "__ignore__"), ("cat", "Background"))):
        root = labelme(tmp_path / f"in{number}", *batch)
        report = convert(root, tmp_path / f"out{number}", classes=labels)
        assert report.classes == ("background", "bird", "cat", "dog")
        assert "classes in no image: bird" in "".join(report.lines())
    assert counts(tmp_path / "out0") == {0: REST, 3: 64, 255: 64}
    assert counts(tmp_path / "out1") == {0: REST + 64, 2: 64}
    with pytest.raises(SettingError, match=r"class 'cats' is not in the source; did you mean 'cat'"):
        convert(tmp_path / "in1", tmp_path / "out", classes="background,cats")


@pytest.mark.parametrize(
    ("classes", "options", "wanted"),
    [
        ("cat", {"others": "background"}, {0: REST + 64, 1: 64}),
        ("cat,background", {"others": "background"}, {0: 64, 1: REST + 64}),
        ("background,cat", {"others": "void"}, {0: REST, 1: 64, 255: 64}),
        ("cat", {"others": "void"}, {0: 64, 255: REST + 64}),
        ("bird,cat", {"others": "void", "void": "cat"}, {255: REST + 128}),
        ("background,cat,dog", {"others": "background", "void": "dog"}, {0: REST, 1: 64, 255: 64}),
    ],
)
def test_other_classes_become_background_or_void(
    tmp_path: Path, classes: str, options: dict[str, Any], wanted: dict[int, int]
) -> None:
    convert(labelme(tmp_path / "in", "cat", "dog"), tmp_path / "out", classes=classes, **options)
    assert counts(tmp_path / "out") == wanted


def test_background_that_is_not_among_the_classes_is_named(tmp_path: Path) -> None:
    root = labelme(tmp_path / "in", "cat", "dog")
    with pytest.raises(DataError, match=r"class 'background', .* add it \(--classes background,dog,cat\), or --others"):
        convert(root, tmp_path / "out", classes="dog,cat")


def test_others_select_classes_of_masks_too(tmp_path: Path) -> None:
    made = scenes()
    root = in_folders(tmp_path / "in", made)
    with pytest.raises(SettingError, match=r"others 'background': none of the classes is called background \(a, b\)"):
        convert(root, tmp_path / "out", classes="a,b", others="background")
    convert(root, tmp_path / "ids", classes="a,b", others="void")
    assert same(masks_of(tmp_path / "ids"), {name: np.array([0, 1, 255, 255], np.uint8)[mask] for name, mask in made.items()})
    put(root / "classes.txt", "background\ncat\ndog\ncar\n")
    convert(root, tmp_path / "names", classes="background,car", others="background")
    assert same(masks_of(tmp_path / "names"), {name: np.array([0, 0, 0, 1], np.uint8)[mask] for name, mask in made.items()})
