"""Read images and masks from files, with errors that name the file and the value. No other module opens images."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401  (importing a plugin registers its format)
from torch import Tensor

from vocseg import voc
from vocseg.data.color_table import labels_of_colors
from vocseg.data.label_checks import (
    PALETTE_ADVICE,
    Color,
    id_channel,
    lossy_compression,
    only_alpha_varies,
    palette_conflict,
    used_colors,
)  # fmt: skip
from vocseg.data.packed import open_file
from vocseg.data.plugins import content_kind, plugin_format
from vocseg.errors import DataError, ImageError, TooManyPixels, reason
from vocseg.utils.system import max_pixels
from vocseg.utils.text import file_name, pixels_text

Image.preinit()
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
"""Pillow's names of the formats that are read, whatever the suffix. MPO (several JPEGs in a file) is opened as JPEG."""
HEAD = 16
"""Bytes at the beginning of a file that tell its format."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""What brings an image upright, by EXIF orientation."""
ROTATED = {5, 6, 7, 8}
"""EXIF orientations that swap height and width."""


@contextmanager
def open_image(
    source: str | Path | IO[bytes], what: str = "image", *, decode: bool = True, most: int | None = None
) -> Iterator[Image.Image]:
    """Open an image of one of FORMATS, or AVIF or HEIC with Pillow's plug-in, and decode it, unless ``decode`` is false.

    Raises ImageError, naming the file and ``what`` it is, for any other file, for one that is damaged or not a regular
    file, and TooManyPixels for an image of more than ``most`` pixels; None: :func:`max_pixels`.
    """
    path = Path(source) if isinstance(source, str | Path) else None
    name = f"{what} {file_name(source)}"
    with ExitStack() as files:
        try:
            if path and path.exists() and not stat.S_ISREG(path.stat().st_mode):
                raise ImageError(f"cannot read {name}: it is not a regular file")
            image = _identify(files.enter_context(open_file(path)) if path else source, what)  # type: ignore[arg-type]
            refuse_large(image, name, most)
            if decode:
                image.load()
        except ImageError:
            raise
        except Exception as error:  # decoders raise all kinds of errors for a damaged file
            verb = "read" if getattr(error, "strerror", None) or not decode else "decode"
            raise ImageError(f"cannot {verb} {name}: {reason(error) or type(error).__name__}") from error
        yield image


def refuse_large(image: Image.Image, name: str, most: int | None = None) -> None:
    """Raise TooManyPixels for an opened image, or the page it shows, of more than ``most`` pixels; see :func:`open_image`."""
    most = max_pixels() if most is None else most
    if image.width * image.height > most:
        size = f"{image.height}x{image.width}, more than {pixels_text(most)}"
        raise TooManyPixels(f"cannot read {name}: it is {size}; make it smaller, or raise --max-pixels (set_max_pixels)")


def _identify(file: IO[bytes], what: str) -> Image.Image:
    """Open an image as Image.open does, which warns and raises at limits of its own that cannot be set for one call."""
    # Pillow looks at the content, not the suffix, and knows forty more formats. For PostScript it starts Ghostscript,
    # which would run a program that somebody has named photo.jpg.
    file.seek(0)
    prefix = file.read(HEAD)
    kind = image_format(prefix, with_plugins=what == "image")  # masks would be lossy
    if kind is not None:
        file.seek(0)
        with suppress(SyntaxError, IndexError, TypeError, struct.error):
            return Image.OPEN[kind][0](file, "")
    if not prefix:
        raise ValueError("the file is empty")
    if kind is not None:
        more = "; --tile N reads more kinds" if kind == "TIFF" and what == "image" else ""
        raise ValueError(f"the {kind} file is damaged, or of a kind that is not read{more}")
    other = content_kind(prefix)
    what = f"it is {other}, which is not" if other else "damaged, not an image, or in a format that is not"
    raise ValueError(f"{what} supported ({', '.join(FORMATS)} are)")


def image_format(head: bytes, with_plugins: bool = True) -> str | None:
    """Return Pillow's name of the format of a file that begins with the HEAD bytes ``head``; None if it is not read.

    Raises ValueError, saying what to install, for a format whose plug-in is missing.
    """
    extra = plugin_format(head) if with_plugins else None
    for name in (extra,) if extra else FORMATS:
        accepts = Image.OPEN[name][1] if name in Image.OPEN else lambda head: False
        if accepts is None or accepts(head) is True:
            return name
    return None


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation (1 to 8) of an opened image; 1 if its EXIF data is missing or damaged."""
    try:
        stored = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # the pixels are fine
        return 1
    return stored if stored in TURNS else 1


def read_image(path: str | Path | IO[bytes], notes: list[str] | None = None) -> Tensor:
    """Read an image as uint8 RGB, 3 x H x W, upright (EXIF orientation applied); ``path`` may also be an open file.

    Reads any of FORMATS, of several pages or frames the first. Drops transparency and scales 16-bit gray to 8 bits.
    ``notes`` gets what a user may not expect of that. Raises ImageError for a file that is missing, truncated, not an
    image, or too large.
    """
    # Pillow, not torchvision: the same pixels a millisecond later, but importing torchvision takes more than a second.
    with open_image(path) as image:
        orientation = orientation_of(image)
        upright = image.transpose(TURNS[orientation]) if orientation != 1 else image
        pixels = _planes(upright) if upright.mode == "RGB" else rgb_pixels(upright, file_name(path), notes).transpose(2, 0, 1)
        if notes is not None and _has_more(image):
            notes.append("it holds several images; the first is read")
    return torch.from_numpy(np.array(pixels, order="C"))


def _planes(image: Image.Image) -> NDArray[np.uint8]:
    """Return an RGB image as 3 x H x W: Pillow interleaves rows of channels, not pixels, which makes the copy a faster one."""
    rows = np.frombuffer(image.tobytes("raw", "RGB;L"), np.uint8)
    return rows.reshape(image.height, 3, image.width).transpose(1, 0, 2)


def _has_more(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # what follows the first page is damaged
        return True


def rgb_pixels(image: Image.Image, path: object, notes: list[str] | None = None) -> NDArray[np.uint8]:
    """Return an image as uint8 RGB, H x W x 3; raise ImageError, naming ``path``, if its numbers have no fixed range."""
    if image.mode.startswith("I;16"):
        gray = np.array(image).astype(np.uint32)
        # Cameras and scanners write 10 to 14 bits into 16, which would come out black.
        bits = next(bits for bits in (8, 10, 12, 14, 16) if gray.max() < 2**bits)
        if bits < 16 and notes is not None:
            notes.append(f"16-bit pixels up to {gray.max():,} are scaled as {bits}-bit ones")
        top = 2**bits - 1
        return np.repeat(((gray * 255 + top // 2) // top).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode.startswith(("I", "F")):
        raise ImageError(f"cannot decode image {path}: mode {image.mode} has no fixed range; save it with 8 bits")
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def image_header(path: str | Path) -> tuple[tuple[int, int], int]:
    """Return the upright size (height, width) and the EXIF orientation (1 to 8) of an image without decoding it.

    Decodes a JPEG that lacks its end marker, to tell a truncated file from an unusual one. Raises ImageError for a file
    that is missing, truncated, not an image, or too large.
    """
    with open_image(path, decode=False) as image:
        width, height = image.size
        # Pillow applies a TIFF's orientation itself, to the size too.
        orientation = 1 if image.format == "TIFF" else orientation_of(image)
        file = getattr(image, "fp", None)
        is_cut = image.format in ("JPEG", "MPO") and file is not None and not _has_end_marker(file)
    if is_cut:
        read_image(path)
    return ((width, height) if orientation in ROTATED else (height, width)), orientation


def _has_end_marker(jpeg: IO[bytes]) -> bool:
    size = jpeg.seek(0, os.SEEK_END)
    jpeg.seek(-min(64, size), os.SEEK_END)
    return jpeg.read().rstrip(b"\0").endswith(b"\xff\xd9")


def image_size(path: str | Path) -> tuple[int, int]:
    """Return the upright size (height, width) of an image; raises ImageError as :func:`image_header` does."""
    return image_header(path)[0]


MaskKind = Literal["palette", "gray", "deep", "channel", "color"]
CHANNELS = ("red", "green", "blue")


class DecodedMask(NamedTuple):
    """A mask file of any kind as class ids; ``mode`` and ``format`` are Pillow's names."""

    labels: NDArray[np.uint8]  # H x W
    kind: MaskKind  # how the file holds them: palette or gray, 16 and more bits (deep), one color channel, or colors
    foreign: NDArray[np.bool_]  # pixels whose value or color is not a class id; their label is void
    pixels: NDArray[Any]  # as decoded: H x W, or H x W x 3
    palette: list[int] | None  # r, g, b, r, ...
    mode: str
    format: str
    lossy: str  # name of a compression that changes labels, or ""
    channel: str  # name of the color channel that holds the ids, or ""

    def used_colors(self) -> dict[int, Color]:
        """Return the palette's color of each label that occurs (:func:`vocseg.data.label_checks.used_colors`)."""
        return used_colors(self.labels, self.palette) if self.kind == "palette" else {}


def read_mask(path: str | Path, num_classes: int | None = None) -> Tensor:
    """Read a mask of class ids from a palette or gray PNG as uint8, H x W; 255 is void.

    Raises DataError for masks with color or alpha channels, 16-bit masks, lossy files, files that are not images and,
    with ``num_classes``, labels other than 0..num_classes-1 and 255.
    """
    decoded = decode_mask(path)
    refuse_lossy(decoded, path)
    if decoded.kind not in ("palette", "gray"):
        kinds = {"RGB": "an RGB color image", "RGBA": "an RGBA color image", "I;16": "a 16-bit image"}
        kind = kinds.get(decoded.mode, f"of mode {decoded.mode}")
        ids = f" with class ids in its {decoded.channel} channel" if decoded.channel else ""
        raise DataError(f"mask {path} is {kind}{ids}; 8-bit class ids in a palette or gray PNG are needed")
    mask = torch.from_numpy(decoded.labels)
    if num_classes is not None:
        check_labels(mask, num_classes, path)
    return mask


def refuse_lossy(mask: DecodedMask, path: str | Path) -> None:
    """Raise DataError, naming ``path``, if the compression of a mask's file changes labels, whatever the file's suffix."""
    if mask.lossy:
        raise DataError(f"mask {path} is a {mask.lossy}, whose compression changes labels; save masks as PNG from the original")


def decode_mask(path: str | Path, colors: Mapping[int, int] | None = None, *, by_color: bool = False) -> DecodedMask:
    """Decode a mask file of any kind; raise DataError for a file that is missing, truncated, or not an image.

    ``colors`` gives the label of each color (r << 16 | g << 8 | b). Color images are read by it, except those whose
    three channels hold the same class ids, or one channel holds them and the others 0; with ``by_color`` every image is,
    palette images by the colors of their palette. Alpha is dropped. In 16 and more bits, 65535 is void.
    """
    # Pillow, not torchvision: the latter returns packed bits as labels for palettes of 16 colors and fewer.
    with open_image(path, "mask") as image:
        mode, format_, palette = image.mode, image.format or "", image.getpalette()
        lossy = lossy_compression(image, path)
        pixels = np.array(image.convert("RGB") if by_color and mode != "RGB" else image)
    foreign = np.zeros(pixels.shape[:2], dtype=bool)
    kind: MaskKind = "color"
    channel = None
    if mode in ("LA", "RGBA") and not by_color and only_alpha_varies(pixels):
        raise ImageError(f"cannot decode mask {path}: only its alpha channel varies; save the labels as a gray PNG")
    if pixels.ndim == 3:
        pixels = pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]  # two channels: gray or palette, and alpha
        if pixels.ndim == 3 and (by_color or not _are_ids(pixels, colors)):
            labels, foreign = labels_of_colors(pixels, colors or {})
            channel = id_channel(pixels) if foreign.any() and not by_color else None
            if channel is not None:
                labels, kind, foreign = np.ascontiguousarray(pixels[..., channel]), "channel", np.zeros_like(foreign)
        else:
            labels = np.ascontiguousarray(pixels if pixels.ndim == 2 else pixels[..., 0])
    elif mode in ("P", "L", "1"):
        labels, kind = pixels.astype(np.uint8, copy=False), "palette" if mode == "P" else "gray"
    else:
        outside = (pixels > voc.VOID) | (pixels < 0) | (pixels % 1 != 0)
        labels, kind, foreign = np.where(outside, voc.VOID, pixels).astype(np.uint8), "deep", outside & (pixels != 65535)
    return DecodedMask(labels, kind, foreign, pixels, palette, mode, format_, lossy, "" if channel is None else CHANNELS[channel])


def check_palettes(paths: Iterable[Path]) -> None:
    """Raise DataError if the palettes of mask files contradict each other (:func:`palette_conflict`).

    Reads only the files' headers if they have one palette, as data sets of class ids do.
    """
    paths = list(paths)
    with ThreadPoolExecutor() as pool:
        if len(set(pool.map(_stored_palette, paths)) - {None}) < 2:
            return
        colors = pool.map(lambda path: decode_mask(path).used_colors(), paths)
        if conflict := palette_conflict(zip(paths, colors, strict=True)):
            raise DataError(f"masks contradict each other: {conflict}: {PALETTE_ADVICE}")


def _stored_palette(path: Path) -> tuple[str, bytes] | None:
    with open_image(path, "mask", decode=False) as image:
        return (image.palette.rawmode or "", bytes(image.palette.palette)) if image.mode == "P" and image.palette else None


def _are_ids(pixels: NDArray[np.uint8], colors: Mapping[int, int] | None) -> bool:
    """Return whether the channels of a color image hold the same class ids, rather than gray colors."""
    values = pixels[..., 0]
    if (pixels != values[..., None]).any():
        return False
    if colors is None:
        return True
    known = np.isin(values, [*colors.values(), voc.VOID])
    return bool(known.all() and ((values > 0) & (values < voc.VOID)).any())


def check_labels(mask: Tensor, num_classes: int, path: str | Path) -> None:
    """Raise DataError, naming ``path`` and the value, if ``mask`` holds a label outside 0..num_classes-1 and 255."""
    stray = mask[(mask >= num_classes) & (mask != voc.VOID)]
    if stray.numel():
        raise DataError(
            f"mask {path} holds label {int(stray[0])} ({stray.numel()} pixels outside 0..{num_classes - 1} and {voc.VOID})"
        )
