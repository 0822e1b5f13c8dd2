from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vocseg import voc
from vocseg.data.layout import VocFolder
from vocseg.data.synthetic import CLASSES
from vocseg.doctor.stats import MIN_REGION, statistics
from vocseg.errors import DataError, OutputError


def regions_by_flood(mask: np.ndarray, label: int) -> list[int]:
    """Sizes of 8-connected regions by plain flood filling, as reference."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask == label)}
    sizes = []
    while left:
        front, size = [left.pop()], 0
        while front:
            y, x = front.pop()
            size += 1
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            front += near
        sizes.append(size)
    return sizes


def test_against_plain_counting(synth: Path) -> None:
    found = statistics(synth)
    folder = VocFolder.find(synth)
    masks = [np.array(Image.open(folder.mask(name))) for name in folder.ids("train")]
    values = found.to_dict()
    assert (values["split"], values["images"], values["mask_dir"]) == ("train", 6, voc.MASKS)
    for label, name in enumerate(CLASSES):
        row = values["per_class"][name]
        shares = [size / mask.size for mask in masks for size in regions_by_flood(mask, label) if size / mask.size >= MIN_REGION]
        assert sorted(found.regions[label]) == pytest.approx(sorted(shares))
        assert row["regions"] == len(shares)
        assert row["pixel_share"] == pytest.approx(sum((mask == label).sum() for mask in masks) / sum(mask.size for mask in masks))
        for place, other in enumerate(CLASSES):
            both = sum(bool((mask == label).any() and (mask == place).any()) for mask in masks)
            assert (row["images"] if place == label else row["with"][other]) == both
    assert sum(values["image_sizes"].values()) == 6
    json.dumps(values, allow_nan=False)


def test_which_split(damaged: Path) -> None:
    assert statistics(damaged, "val").summary.split == "val"
    with pytest.raises(DataError, match="did you mean 'val'"):
        statistics(damaged, "vall")
    shutil.rmtree(damaged / "ImageSets")
    everything = statistics(damaged)
    assert (everything.summary.split, everything.summary.images) == ("all", 10)
    for path in (damaged / voc.MASKS).iterdir():
        path.unlink()
    with pytest.raises(DataError, match="no split has an image with a mask"):
        statistics(damaged)


def test_stray_label_is_named(damaged: Path) -> None:
    Image.new("L", (9, 9), 77).save(damaged / voc.MASKS / "synth_000001.png")
    with pytest.raises(DataError, match=r"synth_000001\.png holds label 77"):
        statistics(damaged)


def test_saved_files(damaged: Path, tmp_path: Path) -> None:
    found = statistics(damaged, "val")
    found.save(tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text()) == found.to_dict()
    before = sorted((damaged / voc.MASKS).iterdir())
    with pytest.raises(OutputError, match="cannot write"):
        found.plot(damaged / voc.MASKS)
    with pytest.raises(OutputError, match="cannot write"):
        found.save(damaged / voc.SPLITS / "val.txt")
    assert sorted((damaged / voc.MASKS).iterdir()) == before


def test_plots(synth: Path, damaged: Path, tmp_path: Path) -> None:
    with open(damaged / voc.CLASSES_FILE, "a") as file:  # classes without a region
        file.write("".join(f"more{number}\n" for number in range(30)))
    for folder in (synth, damaged):
        for path in statistics(folder).plot(tmp_path / "plots"):
            with Image.open(path) as image:
                assert min(image.size) > 300
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [
        "classes.png",
        "cooccurrence.png",
        "regions.png",
        "sizes.png",
    ]
