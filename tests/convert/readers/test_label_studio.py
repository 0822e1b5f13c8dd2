"""Label Studio's export, made here, must give the masks that it was made of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from convert.scenes import HEIGHT, WIDTH, Scenes, masks_of, photo, put, same
from convert.test_rle import label_studio_rle
from vocseg.convert import convert
from vocseg.errors import DataError


def label_studio(folder: Path) -> Scenes:
    made: Scenes = {}
    tasks: list[dict] = []
    for number in range(4):
        name = f"p {number}"
        put(folder / "images" / f"{name}.jpg", photo(number))
        brushed = np.zeros((HEIGHT, WIDTH), dtype=bool)
        brushed[3:9, 5:20] = True
        size = {"original_height": HEIGHT, "original_width": WIDTH, "image_rotation": 0}
        x, y = 100 / WIDTH, 100 / HEIGHT
        corners = [[8 * x, 12 * y], [24 * x, 12 * y], [24 * x, 20 * y], [8 * x, 20 * y]]
        box = {"x": 10 * x, "y": 14 * y, "width": 4 * x, "height": 3 * y, "rotation": 0}
        result = [
            size | {"type": "brushlabels", "value": {"format": "rle", "rle": label_studio_rle(brushed), "brushlabels": ["sky"]}},
            size | {"type": "polygonlabels", "value": {"points": corners, "closed": True, "polygonlabels": ["car"]}},
            size | {"type": "rectanglelabels", "value": box | {"rectanglelabels": ["sky"]}},
            {"type": "choices", "value": {"choices": ["day"]}},
        ]
        mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        mask[brushed] = 2
        mask[12:20, 8:24] = 1
        mask[14:17, 10:14] = 2
        made[f"p_{number}"] = mask
        url = f"/data/upload/1/0123abcd-{name.replace(' ', '%20')}.jpg" if number else f"/data/local-files/?d=images/{name}.jpg"
        canceled = {"was_cancelled": True, "result": []}
        tasks.append({"id": number, "data": {"image": url}, "annotations": [canceled, {"result": result}]})
    tasks.append({"id": 9, "data": {"image": "x.jpg"}, "annotations": []})
    put(folder / "export.json", tasks)
    return made


def test_label_studio(tmp_path: Path) -> None:
    made = label_studio(tmp_path / "in")
    report = convert(tmp_path / "in", tmp_path / "out")
    assert report.kind == "label-studio"
    assert report.classes == ("background", "car", "sky")
    assert any("1 task without annotation" in note for note in report.notes)
    assert same(masks_of(tmp_path / "out"), made)
    tasks = json.loads((tmp_path / "in" / "export.json").read_text())
    tasks[1]["annotations"][1]["result"][0]["value"]["rle"] = [1, 2, 3]
    put(tmp_path / "in" / "export.json", tasks)
    with pytest.raises(DataError, match=r"cannot read an object of p 1\.jpg in .*export\.json: "):
        convert(tmp_path / "in" / "export.json", tmp_path / "out2")


def test_a_second_label_an_empty_brush_and_a_second_task_of_an_image(tmp_path: Path) -> None:
    put(tmp_path / "in" / "a.jpg", photo(0))
    put(tmp_path / "in" / "b.jpg", photo(1))
    square = {"points": [[0, 0], [50, 0], [50, 50], [0, 50]], "polygonlabels": ["car", "sky"]}
    brush = {"format": "rle", "rle": [], "brushlabels": ["car"]}
    results = [{"type": "polygonlabels", "value": square}, {"type": "brushlabels", "value": brush}]
    tasks = [{"id": n, "data": {"image": f"{name}.jpg"}, "annotations": [{"result": results}]} for n, name in enumerate("ab")]
    put(tmp_path / "in" / "export.json", tasks)
    report = convert(tmp_path / "in", tmp_path / "out")
    assert report.skipped == {"label beyond the first of a region": 2, "region of type brushlabels": 2}
    put(tmp_path / "in" / "export.json", [*tasks, tasks[0]])
    with pytest.raises(DataError, match=r"two entries of .*export\.json annotate the same image .*a\.jpg"):
        convert(tmp_path / "in", tmp_path / "out2")
    put(tmp_path / "in" / "export.json", tasks[:1])
    put(tmp_path / "in" / "second.json", tasks[1:])
    assert convert(tmp_path / "in", tmp_path / "out3").images == 2
    put(tmp_path / "in" / "third.json", tasks[1:])
    with pytest.raises(DataError, match=r"second\.json and .*third\.json annotate the same image .*b\.jpg; remove one"):
        convert(tmp_path / "in", tmp_path / "out4")
