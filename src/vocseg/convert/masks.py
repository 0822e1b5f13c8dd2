"""Read labels from mask files, by their values or by their colors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vocseg.convert.source import Mask
from vocseg.data.color_table import ColorTable
from vocseg.data.image_io import decode_mask
from vocseg.errors import DataError


def read_labels(path: Path, table: ColorTable | None = None) -> Mask:
    """Read the labels (uint8, H x W) of a mask file: by color with a ``table``, else by value.

    Raises DataError for an unreadable file, a JPEG (its compression changes labels), a color image without a table,
    colors that are not in the table, and values that are not 0 to 255.
    """
    mask = decode_mask(path, None if table is None else table.labels, by_color=table is not None)
    if mask.format in ("JPEG", "MPO"):
        raise DataError(f"mask {path} is a JPEG, whose compression changes labels; masks must be PNG")
    if not mask.foreign.any():
        return mask.labels
    if mask.kind == "color" and table is None:
        raise DataError(f"mask {path} is a color image; map its colors to classes with --colors FILE")
    y, x = np.argwhere(mask.foreign)[0]
    value = mask.pixels[y, x]
    if table is None:
        raise DataError(f"mask {path} holds label {value} at x={x}, y={y}; labels must be 0 to 255")
    count = int((mask.pixels == value).all(-1).sum())
    raise DataError(
        f"mask {path} has color {tuple(value.tolist())}, which is not in {table.path}: {count} pixels, the first at x={x}, y={y}"
    )
