"""The pages of TIFF files and the frames of animations, one after another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

from PIL import Image

from vocseg.data.image_io import open_image, refuse_large
from vocseg.errors import ImageError, reason

TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
ANIMATION_HEADS = (b"GIF8", b"RIFF", b"\x89PNG")
PAGED, ANIMATED = (".tif", ".tiff"), (".gif", ".webp", ".png", ".apng", ".avif")
"""Suffixes of files that may hold several pages, or frames."""


def may_have_pages(source: Path | bytes, frames: bool) -> bool:
    """Tell by the suffix, or the head, whether a file may hold several pages or, with ``frames``, an animation."""
    if isinstance(source, Path):
        return source.suffix.lower() in (PAGED + ANIMATED if frames else PAGED)
    return source.startswith(TIFF_HEADS + ANIMATION_HEADS if frames else TIFF_HEADS) or (frames and source[8:12] == b"avis")


def pages(source: Path | IO[bytes], name: object) -> Iterator[Image.Image | ImageError]:
    """Yield the pages or frames of an image file, decoded, or an error for one that is damaged; nothing if it has only one.

    Raises ImageError for a file that cannot be opened.
    """
    with open_image(source, decode=False) as image:
        if not getattr(image, "is_animated", False):
            return
        number = 0
        while True:
            try:
                image.seek(number)
            except EOFError:
                return
            except Exception as error:  # what follows cannot be found either
                yield ImageError(f"cannot read page {number + 1} of image {name}: {reason(error)}")
                return
            number += 1
            try:
                refuse_large(image, f"page {number} of image {name}")
                page = image.copy()
            except ImageError as error:
                yield error
            except Exception as error:
                yield ImageError(f"cannot decode page {number} of image {name}: {reason(error)}")
            else:
                yield page
