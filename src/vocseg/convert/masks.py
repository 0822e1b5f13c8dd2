"""Labels out of mask files, by their values or by their colors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vocseg.convert.source import Mask
from vocseg.data.color_table import ColorTable
from vocseg.data.image_io import UNREADABLE, open_image, pillow_reason
from vocseg.errors import DataError


def read_labels(path: Path, table: ColorTable | None = None) -> Mask:
    """Labels of a mask file, H x W: by color with a ``table``, else the values of a palette or gray image.

    A color image whose channels are equal counts as gray; alpha is dropped. Raises DataError for an unreadable file, a
    JPEG (its compression changes labels), a color image without a table, and values above 255.
    """
    try:
        with open_image(path) as image:
            kind, mode = image.format, image.mode
            pixels = np.asarray(image.convert("RGB") if table is not None or mode in ("PA", "LA", "RGBA") else image)
    except UNREADABLE as error:
        raise DataError(f"cannot decode mask {path}: {pillow_reason(error)}") from error
    if kind in ("JPEG", "MPO"):
        raise DataError(f"mask {path} is a JPEG: compression has changed its labels; masks must be PNG")
    if table is not None:
        return table.read(pixels, path)
    if pixels.ndim == 3:
        if (pixels[..., :1] != pixels[..., 1:]).any():
            raise DataError(f"mask {path} is a color image; --colors FILE says which color is which class")
        pixels = pixels[..., 0]
    if pixels.dtype != np.bool_ and pixels.size and (pixels.max() > 255 or pixels.min() < 0):
        y, x = np.argwhere((pixels > 255) | (pixels < 0))[0]
        raise DataError(f"mask {path} holds label {pixels[y, x]} at x={x}, y={y}; labels must be 0 to 255")
    return pixels.astype(np.uint8)
