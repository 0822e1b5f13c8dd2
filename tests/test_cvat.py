"""The auto-annotation function in CVAT's own driver, with a task and a client that need no server."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import vocseg
from vocseg import cvat
from vocseg.convert.regions import fill
from vocseg.errors import SettingError

pytest.importorskip("cvat_sdk")
from cvat_sdk import auto_annotation, models
from cvat_sdk.auto_annotation import driver
from cvat_sdk.masks import decode_mask

CLASSES = ("background", "ring", "dot")
COLORS = torch.tensor([[0, 0, 0], [255, 0, 0], [0, 0, 255]], dtype=torch.float32)


class ByColor(nn.Module):
    """Black is background, red a ring, blue a dot."""

    def forward(self, images: Tensor) -> Tensor:
        images = images * torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1) + torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
        return -torch.stack([(images * 255 - color.view(3, 1, 1)).square().sum(1) for color in COLORS], 1)


MASK = np.zeros((20, 30), dtype=np.uint8)
MASK[2:12, 3:15] = 1
MASK[5:8, 6:9] = 0  # a hole
MASK[6, 7] = 2  # in the hole
MASK[14:18, 20:28] = 2
MASK[13, 28] = 2  # touches the last at a corner only


@pytest.fixture
def make() -> Any:
    segmenter = vocseg.Segmenter(ByColor(), classes=CLASSES, device="cpu", exact=True)
    return lambda shape="polygon", simplify=0.0: cvat.Function(segmenter, shape, simplify)


def annotate(
    function: Any, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...] = CLASSES[1:], kind: str = "any", **options: Any
) -> list[Any]:
    """Run CVAT's driver on a task of two frames; return the shapes that it uploads."""
    image = Image.fromarray(COLORS.numpy().astype(np.uint8)[MASK])
    frames = [
        SimpleNamespace(frame_index=i, frame_name=f"{i}.png", media=SimpleNamespace(load_image=lambda: image)) for i in (4, 7)
    ]
    label = {"type": models.LabelType(kind).value, "attributes": [], "sublabels": []}
    labels = [SimpleNamespace(id=100 + number, name=name, **label) for number, name in enumerate(names)]
    monkeypatch.setattr(driver, "TaskDataset", lambda *_, **__: SimpleNamespace(labels=labels, samples=frames))
    sent: list[Any] = []
    tasks = SimpleNamespace(partial_update_annotations=lambda *_, **given: sent.append(given["patched_labeled_data_request"]))
    client: Any = SimpleNamespace(logger=logging.getLogger("cvat"), tasks=SimpleNamespace(api=tasks))
    auto_annotation.annotate_task(client, 1, function, **options)
    assert {shape.source for shape in sent[0].shapes} == {"auto"}
    return list(sent[0].shapes)


def drawn(shapes: list[Any], frame: int) -> Any:
    """The mask of a frame's shapes, the larger below the smaller, as they come."""
    mask = np.zeros_like(MASK)
    for shape in shapes:
        if shape.frame == frame and shape.type.value == "mask":
            mask[decode_mask(shape.points, image_width=30, image_height=20)] = shape.label_id - 99
        elif shape.frame == frame:
            region = fill([np.array(shape.points).reshape(-1, 2)], 20, 30)
            mask[region.box][region.pixels] = shape.label_id - 99
    return mask


@pytest.mark.parametrize("shape", ["polygon", "mask"])
def test_shapes_give_the_mask(make: Any, monkeypatch: pytest.MonkeyPatch, shape: str) -> None:
    shapes = annotate(make(shape), monkeypatch)
    assert {one.type.value for one in shapes} == {shape}
    for frame in (4, 7):
        assert sum(one.frame == frame for one in shapes) == 4
        np.testing.assert_array_equal(drawn(shapes, frame), MASK)


def test_masks_become_polygons_if_cvat_wants_them(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = annotate(make("mask"), monkeypatch, kind="polygon", conv_mask_to_poly=True)
    assert {one.type.value for one in shapes} == {"polygon"}


def test_labels_of_another_type_are_an_error_at_once(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(auto_annotation.BadFunctionError, match="type 'polygon' in the function, but 'mask'"):
        annotate(make("polygon"), monkeypatch, kind="mask")


def test_labels_that_the_task_lacks_can_be_left_out(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(auto_annotation.BadFunctionError, match="'ring' is not in dataset"):
        annotate(make(), monkeypatch, names=("dot",))
    shapes = annotate(make(), monkeypatch, names=("dot",), allow_unmatched_labels=True)
    assert {one.label_id for one in shapes} == {100}


def test_create() -> None:
    function = cvat.create("two_layer_net", weights="none", device="cpu", simplify=1.0)
    assert len(function.spec.labels) == 20
    assert {label.type for label in function.spec.labels} == {"polygon"}
    for wrong in ({"simplify": -1.0}, {"shape": "box"}, {"simplify": "1"}):
        with pytest.raises(SettingError, match=next(iter(wrong))):
            cvat.create("two_layer_net", weights="none", device="cpu", **wrong)  # type: ignore[arg-type]
