"""CVAT's auto-annotation function: ``cvat-cli task auto-annotate --function-module vocseg.cvat`` draws a model's masks."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from vocseg import voc
from vocseg.convert.outlines import cut_open
from vocseg.errors import SettingError
from vocseg.inference.augment import Augmentation
from vocseg.inference.polygons import Polygons
from vocseg.inference.segmenter import Segmenter, as_segmenter
from vocseg.models.zoo.vocseg_s import NAME as DEFAULT_MODEL
from vocseg.utils.arguments import checked

if TYPE_CHECKING:
    from cvat_sdk.auto_annotation import DetectionFunctionContext, DetectionFunctionSpec
    from cvat_sdk.models import LabeledShapeRequest

Shape = Literal["polygon", "mask"]


class Function:
    """A detection function as CVAT's SDK wants it: a shape for each connected region of a class that is not background."""

    def __init__(self, segmenter: Segmenter, shape: Shape, simplify: float) -> None:
        self.segmenter, self.shape, self.simplify = segmenter, shape, simplify

    @cached_property
    def spec(self) -> DetectionFunctionSpec:
        """The labels: the classes, by id."""
        from cvat_sdk import auto_annotation as cvat

        classes = self.segmenter.info.classes
        background = voc.background(classes)
        named = [(label, name) for label, name in enumerate(classes) if label != background]
        return cvat.DetectionFunctionSpec(labels=[cvat.label_spec(name, label, type=self.shape) for label, name in named])

    def detect(self, context: DetectionFunctionContext, image: Image.Image) -> list[LabeledShapeRequest]:
        """Return the shapes of an image. The function gives no confidence: the context's threshold is not used."""
        from cvat_sdk import auto_annotation as cvat

        result = self.segmenter(image)
        if self.shape == "mask" and not context.conv_mask_to_poly:
            mask, background = result.mask.numpy(), voc.background(result.classes)
            found = [label for label in np.unique(mask).tolist() if label != background]
            return [cvat.mask(label, points) for label in found for points in _run_lengths(mask == label)]
        parts = Polygons(result.info, self.simplify).of(result)
        rings = [(label, cut_open(part.outline, part.holes)) for label, part in parts]
        return [cvat.polygon(label, [float(value) for value in ring.reshape(-1)]) for label, ring in rings]


def _run_lengths(region: NDArray[np.bool_]) -> list[list[float]]:
    """Return each connected part of a region as CVAT's mask: run lengths in a box, and the box."""
    from cvat_sdk.masks import encode_mask

    numbers: Any
    numbers, _ = ndimage.label(region)
    masks = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(numbers), 1):
        part = numbers[rows, columns] == number
        *runs, _, _, right, bottom = encode_mask(part, [0, 0, part.shape[1], part.shape[0]])
        masks.append([*runs, columns.start, rows.start, right + columns.start, bottom + rows.start])
    return masks


@checked
def create(
    model: str | Path = DEFAULT_MODEL,
    *,
    weights: str | Path | None = None,
    shape: Shape = "polygon",
    simplify: float = 0.0,
    device: str = "auto",
    tta: Augmentation = "none",
) -> Function:
    """Make the function; cvat-cli calls this with the values of ``-p NAME=TYPE:VALUE``.

    ``model``, ``weights``, ``device`` and ``tta`` are what :class:`vocseg.Segmenter` takes. ``shape``: polygons, in which
    holes are cut open, or masks. ``simplify``: polygons with fewer corners, whose borders move by so many pixels at most.
    Raises ModelError for a model, SettingError for a setting, that cannot be used, or if the extra ``cvat`` is missing.

    >>> function = create(device="cpu", shape="mask")
    >>> [label.name for label in function.spec.labels][:3]
    ['aeroplane', 'bicycle', 'bird']
    """
    try:
        import cvat_sdk.masks  # noqa: F401
    except ImportError as error:
        raise SettingError("cvat-sdk is not installed; pip install 'vocseg[cvat]'") from error
    if not 0 <= simplify < float("inf"):
        raise SettingError(f"simplify is {simplify}, not a number of pixels")
    return Function(as_segmenter(model, weights=weights, device=device, tta=tta), shape, simplify)
