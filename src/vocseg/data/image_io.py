"""Images and masks from files to tensors, with errors that name the file and the value."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from vocseg import voc
from vocseg.errors import DataError, reason

MASK_MODES = ("P", "L", "1")
"""Pillow's modes of masks that can be read as they are: palette, gray, one bit."""
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
"""Pillow's formats that are read, whatever a file is called. MPO, several JPEGs in one file, is opened as a JPEG."""
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for files of these formats that it cannot read."""
ORIENTATION = 0x0112
"""The EXIF tag."""
ROTATED = {5, 6, 7, 8}
"""EXIF orientations that swap height and width."""


def open_image(source: str | Path | IO[bytes]) -> Image.Image:
    """Open an image of one of FORMATS; raise one of UNREADABLE for any other file. All files go through here.

    Pillow goes by the content and knows forty more formats. For PostScript it starts Ghostscript, which runs whatever program
    somebody has called photo.jpg.
    """
    try:
        return Image.open(source, formats=FORMATS)
    except UnidentifiedImageError as error:
        text = f"damaged, no image, or of a format that is not supported ({', '.join(FORMATS)} are)"
        raise UnidentifiedImageError(text) from error


def read_image(path: str | Path) -> Tensor:
    """Read an image as uint8 RGB, 3 x H x W, upright (EXIF orientation applied).

    Any of FORMATS, of an animation the first frame. Transparency is dropped, 16 bits of gray are scaled to 8.
    Raises DataError for a file that is missing, truncated, or no image.
    """
    # Pillow, not torchvision: the same pixels a millisecond later, but importing torchvision takes more than a second.
    try:
        if Path(path).stat().st_size == 0:
            raise DataError(f"cannot read {path}: the file is empty")
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    try:
        with open_image(path) as image:
            pixels = _rgb(ImageOps.exif_transpose(image), path)
    except UNREADABLE as error:
        raise DataError(f"cannot decode image {path}: {pillow_reason(error)}") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def image_header(path: str | Path) -> tuple[tuple[int, int], int]:
    """Return the upright size (height, width) and the EXIF orientation (1 to 8) of an image without decoding it.

    A JPEG without its end marker is decoded all the same, to tell a truncated file from an unusual one. Raises DataError
    for a file that is missing, truncated, or not an image.
    """
    try:
        with open(path, "rb") as file, open_image(file) as image:
            width, height = image.size
            # Pillow applies a TIFF's orientation itself, to the size too.
            orientation = 1 if image.format == "TIFF" else image.getexif().get(ORIENTATION, 1)
            file.seek(-min(64, Path(path).stat().st_size), 2)
            complete = image.format != "JPEG" or file.read().rstrip(b"\0").endswith(b"\xff\xd9")
    except UNREADABLE as error:
        raise DataError(f"cannot read image {path}: {pillow_reason(error)}") from error
    if not complete:
        read_image(path)
    return ((width, height) if orientation in ROTATED else (height, width)), orientation


def image_size(path: str | Path) -> tuple[int, int]:
    """Return the upright size (height, width) of an image; raises DataError as :func:`image_header` does."""
    return image_header(path)[0]


def _rgb(image: Image.Image, path: str | Path) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):
        gray = np.array(image).astype(np.uint32)
        return np.repeat(((gray * 255 + 32767) // 65535).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode.startswith(("I", "F")):
        raise DataError(f"cannot decode image {path}: mode {image.mode} has no fixed range; save it with 8 bits")
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def read_mask(path: str | Path, num_classes: int | None = None) -> Tensor:
    """Read a mask of class ids from a palette or gray PNG as uint8, H x W; 255 is void.

    With ``num_classes``, labels other than 0..num_classes-1 and 255 raise DataError with the value; so do masks with
    color or alpha channels, 16-bit masks, and files that are no image.
    """
    mode, labels, _ = open_mask(path)
    if mode not in MASK_MODES:
        raise DataError(wrong_mode(path, mode))
    mask = torch.from_numpy(labels.astype(np.uint8, copy=False))
    if num_classes is not None:
        check_labels(mask, num_classes, path)
    return mask


def open_mask(path: str | Path) -> tuple[str, NDArray[Any], list[int] | None]:
    """Pillow's mode, the pixels (H x W or H x W x channels) and the palette (red, green, blue, red, ...) of a mask of any kind.

    Raises DataError for a file that is missing, truncated, or no image.
    """
    # Pillow, not torchvision: the latter returns packed bits as labels for palettes of 16 colors and fewer.
    try:
        with open_image(path) as image:
            return image.mode, np.array(image), image.getpalette()
    except UNREADABLE as error:
        raise DataError(f"cannot decode mask {path}: {pillow_reason(error)}") from error


def wrong_mode(path: str | Path, mode: str) -> str:
    """What is wrong with a mask of a mode that is not one of MASK_MODES."""
    kinds = {"RGB": "an RGB color image", "RGBA": "an RGBA color image", "I;16": "a 16-bit image"}
    kind = kinds.get(mode, f"of mode {mode}")
    return f"mask {path} is {kind}; 8-bit class ids in a palette or gray PNG are needed"


def pillow_reason(error: Exception) -> str:
    """Pillow's message without the path that it repeats."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def check_labels(mask: Tensor, num_classes: int, path: str | Path) -> None:
    """Raise DataError, naming ``path`` and the value, where ``mask`` holds a label outside 0..num_classes-1 and 255."""
    stray = mask[(mask >= num_classes) & (mask != voc.VOID)]
    if stray.numel():
        raise DataError(
            f"mask {path} holds label {int(stray[0])} ({stray.numel()} pixels outside 0..{num_classes - 1} and {voc.VOID})"
        )
