from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from doctor.defects import mask, name
from vocseg.doctor.survey import find_legend, survey
from vocseg.doctor.views import overlay_and_mask, read_labels, show
from vocseg.errors import DataError, InputError


def test_ids_in_the_given_order(sound: Path) -> None:
    sheet = show(sound, [f"{name(8)}.jpg", name(1)])
    assert sheet.ids == [name(8), name(1)]
    assert sheet.image.width > 600


def test_random_images_depend_on_the_seed_only(sound: Path) -> None:
    drawn = [show(sound, split="val", count=3, seed=seed).ids for seed in (1, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len({tuple(ids) for ids in drawn}) > 1
    assert set(drawn[0]) <= {name(number) for number in range(6, 10)}


def test_nothing_to_show(broken: Path) -> None:
    with pytest.raises(DataError, match=r"has no image in .*; did you mean"):
        show(broken, ["synth_00001"])
    with pytest.raises(InputError, match="no class 'dics'; did you mean 'disc'"):
        show(broken, class_name="dics")
    for path in (broken / "SegmentationClass").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=f"id '{name(1)}' has no mask"):
        show(broken, [name(1)])
    shutil.rmtree(broken / "ImageSets")
    with pytest.raises(InputError, match="nothing to show"):
        show(broken)


def test_a_mask_of_another_size_is_shown_beside_its_image(broken: Path) -> None:
    found = survey(broken)
    colors = find_legend(broken, found.classes).colors
    image = found.images[name(1)]
    overlay, colored = overlay_and_mask(image, read_labels(mask(broken, 1), colors), colors)
    with Image.open(image) as opened:
        assert overlay.size == colored.size == opened.size
        assert not np.array_equal(np.array(overlay), np.array(opened))
        Image.new("L", (9, 90), 1).save(mask(broken, 1))
        plain, colored = overlay_and_mask(image, read_labels(mask(broken, 1), colors), colors)
        assert np.array_equal(np.array(plain), np.array(opened))
    assert colored.size == (9, 90)
    assert colored.getpixel((0, 0)) == colors[1]
