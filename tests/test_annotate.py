"""docs/annotate.md: its commands bring corrections back, from exports in the form that the tools write."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Run = Callable[..., tuple[int, str, str]]
PAGE = Path(__file__).parents[1] / "docs" / "annotate.md"
COMMANDS = [shlex.split(line)[1:] for line in re.findall(r"^ *(vocseg data convert .*)$", PAGE.read_text("utf-8"), re.MULTILINE)]
MASK = np.zeros((20, 30), dtype=np.uint8)
MASK[2:12, 3:15] = 2
MASK[6:9, 20:28] = 1
COLORS = {"background": (0, 0, 0), "dog": (250, 50, 83), "cat": (51, 221, 255)}
"""In CVAT the labels have another order than in the model."""


def corners(label: int) -> list[list[int]]:
    rows, columns = np.nonzero(label == MASK)
    (top, bottom), (left, right) = ((int(places.min()), int(places.max()) + 1) for places in (rows, columns))
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


@pytest.fixture
def exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("classes.txt").write_text("background\ncat\ndog\n")
    for folder in ("images", "cvat_coco/images/default", "cvat_masks/JPEGImages"):
        Path(folder).mkdir(parents=True)
        for name, color in zip("abcd", ("red", "green", "blue", "gray"), strict=True):
            Image.new("RGB", (30, 20), color).save(Path(folder) / f"{name}.jpg")
    label_studio()
    cvat_coco()
    cvat_masks()
    return tmp_path


def label_studio() -> None:
    names: dict[int, str] = {1: "cat", 2: "dog"}
    result: list[dict[str, Any]] = [
        {
            "original_width": 30, "original_height": 20, "image_rotation": 0, "id": f"x{label}", "from_name": "label",
            "to_name": "image", "type": "polygonlabels", "origin": "prediction-changed",
            "value": {"points": [[x / 0.3, y / 0.2] for x, y in corners(label)], "closed": True, "polygonlabels": [name]},
        }
        for label, name in names.items()
    ]  # fmt: skip
    tasks = [
        {
            "id": 11, "data": {"image": f"/data/upload/3/0a1b2c3d-{name}.jpg"}, "file_upload": f"0a1b2c3d-{name}.jpg",
            "predictions": [4], "annotations": [
                {"id": 5, "completed_by": 1, "result": result[:1], "was_cancelled": True, "ground_truth": False},
                {"id": 6, "completed_by": 1, "result": result, "was_cancelled": False, "ground_truth": False},
            ],
        }
        for name in "abcd"
    ]  # fmt: skip
    Path("export.json").write_text(json.dumps(tasks))


def cvat_coco() -> None:
    annotations = [
        {
            "id": 10 * image + category, "image_id": image, "category_id": category, "iscrowd": 0, "bbox": [0, 0, 1, 1],
            "segmentation": [[value for corner in corners(label) for value in corner]], "area": 1.0,
            "attributes": {"occluded": False},
        }
        for image in range(1, 5)
        for category, label in ((2, 1), (1, 2))
    ]  # fmt: skip
    content = {
        "licenses": [{"name": "", "id": 0, "url": ""}], "info": {"contributor": "", "description": ""},
        "categories": [{"id": 1, "name": "dog", "supercategory": ""}, {"id": 2, "name": "cat", "supercategory": ""}],
        "images": [
            {"id": number, "width": 30, "height": 20, "file_name": f"{name}.jpg", "license": 0}
            for number, name in enumerate("abcd", 1)
        ], "annotations": annotations,
    }  # fmt: skip
    Path("cvat_coco/annotations").mkdir()
    Path("cvat_coco/annotations/instances_default.json").write_text(json.dumps(content))


def cvat_masks() -> None:
    rows = "".join(f"{name}:{','.join(map(str, color))}::\n" for name, color in COLORS.items())
    Path("cvat_masks/labelmap.txt").write_text(f"# label:color_rgb:parts:actions\n{rows}")
    Path("cvat_masks/ImageSets/Segmentation").mkdir(parents=True)
    Path("cvat_masks/ImageSets/Segmentation/default.txt").write_text("a\nb\nc\nd\n")
    colors = np.array([COLORS[name] for name in ("background", "cat", "dog")], dtype=np.uint8)
    for folder in ("SegmentationClass", "SegmentationObject"):
        Path(f"cvat_masks/{folder}").mkdir()
        for name in "abcd":
            Image.fromarray(colors[MASK]).save(f"cvat_masks/{folder}/{name}.png")


def test_there_are_three_ways_back() -> None:
    assert [command[2] for command in COMMANDS] == ["export.json", "cvat_coco", "cvat_masks"]


@pytest.mark.parametrize("number", range(3))
def test_commands_bring_the_mask_back(exports: Path, run: Run, number: int) -> None:
    code, _, err = run(*COMMANDS[number])
    assert code == 0, err
    out = exports / COMMANDS[number][3]
    assert (out / "classes.txt").read_text().split() == ["background", "cat", "dog"]
    for name in "abcd":
        np.testing.assert_array_equal(np.asarray(Image.open(out / "SegmentationClass" / f"{name}.png")), MASK)
