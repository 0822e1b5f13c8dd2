"""Lines of the report."""

from __future__ import annotations

import pytest

from vocseg.convert import ConvertReport


@pytest.mark.parametrize(
    ("classes", "images", "hint"),
    [
        (("class_0", "class_1", "class_2", "class_3"), (9, 9, 0, 4), True),
        (("class_0", "class_1", "class_2"), (9, 9, 4), False),
        (("class_0", "class_1", "class_2"), (9, 0, 0), False),
        (("road", "sky", "sign"), (9, 0, 4), False),
    ],
)
def test_a_label_apart_may_be_void(classes: tuple[str, ...], images: tuple[int, ...], hint: bool) -> None:
    lines = ConvertReport("folders", "roads", 9, classes, images, images, 0.0, {"train": 9}).lines()
    assert ("label 3 is separated from the others by unused labels; if it is not a class, use --void 3" in lines) == hint
