"""Every mask of a source of mask files is converted or counted: masks in = converted + skipped, for every such reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convert.scenes import HEIGHT, WIDTH, masks_of, photo, put
from vocseg import voc
from vocseg.convert import convert
from vocseg.errors import DataError

MASK = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
LAYOUTS = {
    "folders": ("images/{}.jpg", "masks/{}.png"),
    "camvid": ("train/{}.png", "trainannot/{}_L.png"),
    "voc": (f"{voc.IMAGES}/{{}}.jpg", f"{voc.MASKS}/{{}}.png"),
    "cityscapes": ("leftImg8bit/train/x/{}_leftImg8bit.png", "gtFine/train/x/{}_gtFine_labelIds.png"),
}
STATES = ["whole", "no image", "no mask", "unlisted"]


@pytest.mark.parametrize("kind", LAYOUTS)
@given(states=st.lists(st.sampled_from(STATES), max_size=8))
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_masks_are_converted_or_counted(tmp_path_factory: pytest.TempPathFactory, kind: str, states: list[str]) -> None:
    root, (image, mask) = tmp_path_factory.mktemp("t"), LAYOUTS[kind]
    if kind == "voc":  # a listed id without an image is an error
        states = [state for state in states if state != "no image"]
    states = ["whole", "whole", *states]
    for number, state in enumerate(states):
        if state != "no image":
            put(root / "in" / image.format(f"p{number}"), photo(number))
        if state != "no mask":
            put(root / "in" / mask.format(f"p{number}"), MASK + (7 if kind == "cityscapes" else 1))
    for split, start in (("train", 0), ("val", 1)):
        listed = [f"p{number}\n" for number, state in enumerate(states) if state != "unlisted" and number % 2 == start]
        put(root / "in" / voc.SPLITS / f"{split}.txt", "".join(listed))
    report = convert(root / "in", root / "out", kind=kind, splits=None if kind == "voc" else "0.5/0.5")
    converted = states.count("whole") + (states.count("unlisted") if kind != "voc" else 0)
    assert report.images == len(masks_of(root / "out")) == converted
    skipped_masks = sum(number for thing, number in report.skipped.items() if thing.startswith("mask "))
    assert skipped_masks == sum(state != "no mask" for state in states) - converted
    images = [number for thing, number in report.skipped.items() if "without a mask" in thing]
    assert sum(images) == (states.count("no mask") if kind != "cityscapes" else 0)


def test_two_masks_of_an_image_and_one_name_in_two_cities(tmp_path: Path) -> None:
    image, mask = LAYOUTS["cityscapes"]
    for number, city in enumerate("xy"):
        put(tmp_path / "in" / image.format("p").replace("/x/", f"/{city}/"), photo(number))
        put(tmp_path / "in" / mask.format("p").replace("/x/", f"/{city}/"), MASK + 7 + number)
    put(tmp_path / "in" / mask.format("p").replace("gtFine", "gtCoarse"), MASK + 26)
    report = convert(tmp_path / "in", tmp_path / "out")
    assert [int(mask[0, 0]) for mask in masks_of(tmp_path / "out").values()] == [0, 1]
    assert report.skipped == {"mask of an image that has another mask": 1}


@pytest.mark.parametrize("name", ["annotations.xml", "a.csv", "a.json"])
def test_annotations_in_formats_that_are_not_read_are_named(tmp_path: Path, name: str) -> None:
    put(tmp_path / "in" / "p.jpg", photo(0))
    put(tmp_path / "in" / name, "{}")
    with pytest.raises(DataError, match=rf"images, but no masks, .*{name} is in no format that is read"):
        convert(tmp_path / "in", tmp_path / "out")
