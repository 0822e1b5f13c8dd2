"""Pictures and masks from files to tensors, with errors that name the file and the value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from vocseg import voc
from vocseg.errors import DataError, reason

MASK_MODES = ("P", "L", "1")
"""Pillow's modes of masks that can be read as they are: palette, grey, one bit."""


def _bytes(path: Path) -> Tensor:
    try:
        content = bytearray(Path(path).read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    if not content:
        raise DataError(f"cannot read {path}: the file is empty")
    return torch.frombuffer(content, dtype=torch.uint8)


def read_picture(path: str | Path) -> Tensor:
    """Read a picture as uint8 RGB, 3 x H x W, upright (EXIF orientation applied).

    JPEG (RGB, grey, CMYK), PNG (any colour type, 8 or 16 bit), WebP and GIF (first frame) are decoded by torchvision,
    other formats (BMP, TIFF, ...) by Pillow. Transparency is dropped, 16 bits are scaled to 8.
    Raises DataError for a file that is missing, truncated, or no picture.
    """
    # Imported here: torchvision takes more than a second, and masks do not need it.
    from torchvision.io import ImageReadMode, decode_image

    data = _bytes(Path(path))
    try:
        picture = decode_image(data, mode=ImageReadMode.RGB, apply_exif_orientation=True)
    except RuntimeError as error:
        if "nsupported" not in str(error):
            raise DataError(f"cannot decode picture {path}: {_reason(error)}") from error
        return _read_with_pillow(Path(path))
    if picture.dim() == 4:
        picture = picture[0]
    if picture.dtype == torch.uint16:
        picture = picture.to(torch.int32).mul_(255).add_(32767).div_(65535, rounding_mode="floor")
    return picture.to(torch.uint8)


def _read_with_pillow(path: Path) -> Tensor:
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith(("I", "F")):
                raise DataError(f"cannot decode picture {path}: mode {upright.mode} has no fixed range; save it with 8 bits")
            pixels = np.array(upright.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"cannot decode picture {path}: {pillow_reason(error)}") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _reason(error: Exception) -> str:
    """The last clause of a decoder's message, without its C++ source location."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text.rsplit(".cpp:", 1)[-1].split(", ", 1)[-1].rstrip(".") if ".cpp:" in text else text


def read_mask(path: str | Path, num_classes: int | None = None) -> Tensor:
    """Read a mask of class ids from a palette or grey PNG as uint8, H x W; 255 is void.

    With ``num_classes``, labels other than 0..num_classes-1 and 255 raise DataError with the value; so do masks with
    colour or alpha channels, 16-bit masks, and files that are no picture.
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

    Raises DataError for a file that is missing, truncated, or no picture.
    """
    # Pillow, not torchvision: the latter returns packed bits as labels for palettes of 16 colours and fewer.
    try:
        with Image.open(path) as image:
            return image.mode, np.array(image), image.getpalette()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"cannot decode mask {path}: {pillow_reason(error)}") from error


def wrong_mode(path: str | Path, mode: str) -> str:
    """What is wrong with a mask of a mode that is not one of MASK_MODES."""
    kinds = {"RGB": "an RGB colour picture", "RGBA": "an RGBA colour picture", "I;16": "a 16-bit picture"}
    kind = kinds.get(mode, f"of mode {mode}")
    return f"mask {path} is {kind}; 8-bit class ids in a palette or grey PNG are needed"


def pillow_reason(error: Exception) -> str:
    """Pillow's message without the path that it repeats."""
    if isinstance(error, UnidentifiedImageError):
        return "no picture format that Pillow knows"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def check_labels(mask: Tensor, num_classes: int, path: str | Path) -> None:
    """Raise DataError, naming ``path`` and the value, where ``mask`` holds a label outside 0..num_classes-1 and 255."""
    stray = mask[(mask >= num_classes) & (mask != voc.VOID)]
    if stray.numel():
        raise DataError(
            f"mask {path} holds label {int(stray[0])} ({stray.numel()} pixels outside 0..{num_classes - 1} and {voc.VOID})"
        )
