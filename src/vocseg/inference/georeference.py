"""Where a GeoTIFF's pixels are on the ground, from its tags (OGC GeoTIFF 1.1)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vocseg.data.image_io import open_image

SCALE, TIE_POINT, TRANSFORMATION, KEYS = 33550, 33922, 34264, 34735
RASTER_TYPE, GEODETIC, PROJECTED = 1025, 2048, 3072
"""Keys: whether coordinates are of a pixel's corner (1) or center (2), and the EPSG codes of coordinate systems."""
USER_DEFINED = 32767


class Georeference(NamedTuple):
    """``matrix`` (2 x 3) from corners of pixels (x, y, 1) to coordinates, and the name of their system, if it has one."""

    matrix: NDArray[np.float64]
    crs: str | None

    def apply(self, ring: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the coordinates of a closed ring (N x 2), turned so that outlines stay counterclockwise."""
        placed = ring @ self.matrix[:, :2].T + self.matrix[:, 2]
        return placed[::-1] if np.linalg.det(self.matrix[:, :2]) < 0 else placed


def georeference(path: Path) -> Georeference | None:
    """Return where the pixels of a file are; None if it does not say."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    with open_image(path, decode=False) as image:
        return from_tags(getattr(image, "tag_v2", {}))


def from_tags(tags: Mapping[int, Any]) -> Georeference | None:
    """Return where the pixels of a TIFF file with some tags are; None if they do not say."""
    scale, tie, whole, keys = (tags.get(tag) for tag in (SCALE, TIE_POINT, TRANSFORMATION, KEYS))
    if whole and len(whole) == 16:
        matrix = np.array(whole, dtype=np.float64).reshape(4, 4)[:2, [0, 1, 3]]
    elif scale and tie and len(scale) >= 2 and len(tie) >= 6:
        across, down = float(scale[0]), -float(scale[1])
        matrix = np.array([[across, 0, tie[3] - tie[0] * across], [0, down, tie[4] - tie[1] * down]], dtype=np.float64)
    else:
        return None
    found = {keys[at]: keys[at + 3] for at in range(4, len(keys) - 3, 4) if keys[at + 1] == 0} if keys else {}
    if found.get(RASTER_TYPE) == 2:
        matrix[:, 2] -= matrix[:, :2] @ (0.5, 0.5)
    code = found.get(PROJECTED, found.get(GEODETIC, USER_DEFINED))
    return Georeference(matrix, None if code in (0, USER_DEFINED) else f"urn:ogc:def:crs:EPSG::{code}")
