"""Read images from top to bottom, some rows at a time, whatever their size.

TIFF by tifffile, or by rasterio if tifffile cannot decode it; JPEG, PNG and WebP by pyvips; all in one piece by Pillow, up
to the limit of pixels, if the package is not installed. All are optional (the extra ``tiles``).
"""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocseg.errors import DataError, ImageError, TooManyPixels, reason
from vocseg.inference.images import to_pixels

Pixels = NDArray[Any]

CHUNK = 16 << 20
"""Bytes that are read at a time, about."""
LARGEST_CHUNK = 512 << 20
"""Bytes that a row of tiles, or a compressed strip, of a TIFF file may have decoded."""
GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737, 42113)
"""GeoTIFF: scale, tie points, transformation, keys and their values; GDAL's value for missing data is not kept."""
logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what it says before it raises is no line of ours
BANDS = "of its {} bands, the first three are read as red, green and blue"
EXTRA = "pip install 'vocseg[tiles]'"


class CannotRead(DataError):
    """A reader does not take this kind of file; another may."""


@dataclass
class ImageRows:
    """An image whose ``blocks`` are uint8 RGB, rows x width x 3, from top to bottom; ``geo_tags``: tifffile's extra tags."""

    name: str
    height: int
    width: int
    blocks: Callable[[], Iterator[NDArray[np.uint8]]]
    reader: str
    notes: list[str] = field(default_factory=list)
    geo_tags: list[Any] = field(default_factory=list)


@contextmanager
def open_rows(source: Any) -> Iterator[ImageRows]:
    """Open an image of any size to be read from top to bottom; what is not a file is decoded in one piece.

    Raises DataError if the file cannot be read, naming what to install if that would help.
    """
    if not isinstance(source, str | Path):
        yield in_memory(source)
        return
    path = Path(source)
    with ExitStack() as files:
        image = _opened(path, files)
        yield replace(image, blocks=lambda: _decoded(image))


def _decoded(image: ImageRows) -> Iterator[NDArray[np.uint8]]:
    """Yield the blocks of a file; what its decoder raises becomes an ImageError."""
    try:
        yield from image.blocks()
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"cannot decode image {image.name}: {reason(error) or type(error).__name__}") from error


def _opened(path: Path, files: ExitStack) -> ImageRows:
    refusals = []
    for package, opener in _readers(path):
        if importlib.util.find_spec(package) is None:
            continue
        try:
            return opener(path, files)
        except CannotRead as error:
            refusals.append(f"{package}: {error}")
        except Exception as error:
            refusals.append(f"{package}: {reason(error) or type(error).__name__}")
    try:
        return in_memory(path)
    except TooManyPixels as error:
        missing = [package for package, _ in _readers(path)[:1] if importlib.util.find_spec(package) is None]
        hint = f"; {missing[0]} reads it by parts: {EXTRA}" if missing else ""
        raise TooManyPixels("; ".join([f"{error}{hint}", *refusals])) from error
    except ImageError as error:
        raise ImageError("; ".join([str(error), *refusals])) from error


def is_tiff(path: Path) -> bool:
    """Tell by its first bytes whether a file is TIFF or BigTIFF."""
    return _head(path)[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(12)
    except OSError:
        return b""  # Pillow says why


def _readers(path: Path) -> list[tuple[str, Callable[[Path, ExitStack], ImageRows]]]:
    """Return the packages that read a file by parts, by its first bytes, best first."""
    if is_tiff(path):
        return [("tifffile", tiff_rows), ("rasterio", raster_rows)]
    loader = {b"\xff\xd8\xff": "jpegload", b"\x89PN": "pngload", b"RIF": "webpload"}.get(_head(path)[:3])
    return [("pyvips", lambda path, files: vips_rows(path, loader))] if loader else []


def in_memory(source: Any) -> ImageRows:
    """Return the rows of an image that is read in one piece."""
    notes: list[str] = []
    pixels = to_pixels(source, notes).permute(1, 2, 0).numpy()
    name = str(source) if isinstance(source, str | Path) else "in memory"
    height, width = pixels.shape[:2]
    return ImageRows(name, height, width, lambda: iter([np.ascontiguousarray(pixels)]), "Pillow", notes)


def tiff_rows(path: Path, files: ExitStack) -> ImageRows:
    """Read a TIFF or BigTIFF file, in strips or tiles, by tifffile; of several pages the first."""
    import tifffile

    file = files.enter_context(tifffile.TiffFile(path))
    page: Any = file.pages[0]
    kind, orientation = getattr(page.photometric, "name", "none"), page.tags.get(274)
    if page.dtype not in (np.uint8, np.uint16) or kind not in ("RGB", "MINISBLACK", "PALETTE", "YCBCR") or page.imagedepth > 1:
        raise CannotRead(f"pixels of {page.dtype} and kind {kind} are not 8 or 16 bits, gray, RGB or of a palette")
    if orientation is not None and orientation.value not in (0, 1):
        raise CannotRead("it must be turned to be upright")
    if kind == "YCBCR" and page.compression not in (6, 7):
        raise CannotRead("its colors are YCbCr")
    notes, colors = [], _to_rgb(_colormap(page) if kind == "PALETTE" else None)
    if len(file.series) > 1 or len(file.series[0].pages) > 1:
        notes.append("it holds several images; the first is read")
    if page.samplesperpixel > (2 if kind == "MINISBLACK" else 4):
        notes.append(BANDS.format(page.samplesperpixel))
    stored = _contiguous if page.is_contiguous and (page.planarconfig == 1 or page.samplesperpixel == 1) else _segments
    if stored is _segments:
        next(_segments(file, page))  # a missing codec shows now
    if page.dtype == np.uint16:
        colors = _to_rgb(scaled_by=_highest((block.max() for block in stored(file, page)), notes))
    return ImageRows(
        str(path), page.imagelength, page.imagewidth, lambda: map(colors, stored(file, page)), "tifffile", notes, _geo_tags(page)
    )  # fmt: skip


def _geo_tags(page: Any) -> list[Any]:
    """Return the tags of a GeoTIFF, as tifffile's extra tags."""
    tags = [page.tags[code] for code in GEO_TAGS if code in page.tags]
    return [(tag.code, int(tag.dtype), tag.count, tag.value, True) for tag in tags]


def _contiguous(file: Any, page: Any) -> Iterator[Pixels]:
    """Yield the rows of an uncompressed file, which may be one strip."""
    shape = (page.imagewidth, page.samplesperpixel)
    row = math.prod(shape) * page.dtype.itemsize
    step = max(1, CHUNK // row)
    handle, offset = file.filehandle, page.dataoffsets[0]
    for start in range(0, page.imagelength, step):
        rows = min(step, page.imagelength - start)
        handle.seek(offset + start * row)
        data = handle.read(rows * row)
        if len(data) < rows * row:
            raise ImageError(f"cannot decode image {file.filename}: it is truncated")
        values = np.frombuffer(data, page.dtype.newbyteorder(file.byteorder)).reshape(rows, *shape)
        yield values.astype(page.dtype, copy=False)


def _segments(file: Any, page: Any) -> Iterator[Pixels]:
    """Yield the rows of tiles or strips."""
    height, width = page.chunks[:2]
    down, across = math.ceil(page.imagelength / height), math.ceil(page.imagewidth / width)
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    if height * page.imagewidth * page.samplesperpixel * page.dtype.itemsize > LARGEST_CHUNK:
        raise CannotRead(f"it is compressed in strips of {height} rows; write it in tiles")
    tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if page.compression in (6, 7) else {}
    handle = file.filehandle
    for row in range(down):
        rows = min(height, page.imagelength - row * height)
        block = np.zeros((rows, page.imagewidth, page.samplesperpixel), page.dtype)
        for plane in range(planes):
            for column in range(across):
                index = (plane * down + row) * across + column
                offset, count = page.dataoffsets[index], page.databytecounts[index]
                handle.seek(offset)
                segment = page.decode(handle.read(count) if count else None, index, **tables)[0]
                if segment is None:  # a tile that was never written
                    continue
                place = block[:, column * width : (column + 1) * width]
                place = place[..., plane : plane + 1] if planes > 1 else place
                place[:] = segment[0, : place.shape[0], : place.shape[1]]
        yield block


def _colormap(page: Any) -> NDArray[np.uint8]:
    """Return a palette as uint8, n x 3; it has 16 bits, which some writers use 8 of."""
    colors = np.asarray(page.colormap).T
    return (colors >> 8 if colors.max() > 255 else colors).astype(np.uint8)


def _to_rgb(table: NDArray[np.uint8] | None = None, scaled_by: int = 0) -> Callable[[Pixels], NDArray[np.uint8]]:
    """Return what turns rows x width x bands into uint8 RGB; ``scaled_by``: the largest value of 16 bits."""

    def convert(block: Pixels) -> NDArray[np.uint8]:
        if table is not None:
            return table[np.minimum(block[..., 0], len(table) - 1)]
        bands = block[..., :3] if block.shape[2] > 2 else block[..., :1]
        if scaled_by:
            bands = ((bands.astype(np.uint32) * 255 + scaled_by // 2) // scaled_by).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(bands, (*bands.shape[:2], 3)))

    return convert


def _highest(maxima: Iterator[Any], notes: list[str]) -> int:
    """Return the largest value of pixels of 16 bits, which may use fewer, as of a camera."""
    highest = int(max(maxima))
    bits = next(bits for bits in (8, 10, 12, 14, 16) if highest < 2**bits)
    if bits < 16:
        notes.append(f"16-bit pixels up to {highest:,} are scaled as {bits}-bit ones")
    return 2**bits - 1


def raster_rows(path: Path, files: ExitStack) -> ImageRows:
    """Read a TIFF file by rasterio, whose GDAL knows more compressions than tifffile alone."""
    import rasterio
    from rasterio.windows import Window

    files.enter_context(rasterio.Env(GDAL_CACHEMAX=CHUNK * 4))
    file = files.enter_context(rasterio.open(path, driver="GTiff"))
    if set(file.dtypes) - {"uint8", "uint16"}:
        raise CannotRead(f"pixels of {file.dtypes[0]} are not 8 or 16 bits")
    step = max(file.block_shapes[0][0], CHUNK // (file.width * file.count))
    if step * file.width * file.count > LARGEST_CHUNK:
        raise CannotRead(f"it is compressed in strips of {file.block_shapes[0][0]} rows; write it in tiles")

    def blocks() -> Iterator[Pixels]:
        for start in range(0, file.height, step):
            window = Window(0, start, file.width, min(step, file.height - start))
            yield file.read(window=window).transpose(1, 2, 0)

    notes = [BANDS.format(file.count)] if file.count > 4 else []
    table = np.array([color[:3] for _, color in sorted(file.colormap(1).items())], np.uint8) if _has_palette(file) else None
    scale = _highest((block.max() for block in blocks()), notes) if "uint16" in file.dtypes else 0
    colors, geo_tags = _to_rgb(table, scale), []
    if importlib.util.find_spec("tifffile") is not None:
        import tifffile

        with tifffile.TiffFile(path) as tagged:
            geo_tags = _geo_tags(tagged.pages[0])
    return ImageRows(str(path), file.height, file.width, lambda: map(colors, blocks()), "rasterio", notes, geo_tags)


def _has_palette(file: Any) -> bool:
    return file.colorinterp[0].name == "palette"


def vips_rows(path: Path, loader: str | None) -> ImageRows:
    """Read a JPEG, PNG or WebP file by libvips, which decodes it as rows are read."""
    import pyvips

    def opened(access: str) -> Any:
        return getattr(pyvips.Image, loader or "")(str(path), access=access, fail_on="truncated")

    image = opened("sequential")
    if image.interpretation == "cmyk":
        raise CannotRead("its colors are CMYK")  # by a profile, they would differ from those of one piece
    if image.get_typeof("orientation") and image.get("orientation") != 1:
        image = opened("random").autorot()  # by a temporary file
    if image.interpretation not in ("srgb", "b-w"):
        image = image.colourspace("srgb")
    image = image[:3] if image.bands > 2 else image[0]
    if image.format != "uchar":
        image = image.cast("uchar")
    step = max(1, CHUNK // (3 * image.width))

    def blocks() -> Iterator[NDArray[np.uint8]]:
        region = pyvips.Region.new(image)
        for start in range(0, image.height, step):
            rows = min(step, image.height - start)
            try:
                data = region.fetch(0, start, image.width, rows)
            except pyvips.Error as error:
                raise ImageError(f"cannot decode image {path}: it is truncated or damaged") from error
            yield _to_rgb()(np.frombuffer(data, np.uint8).reshape(rows, image.width, image.bands))

    return ImageRows(str(path), image.height, image.width, blocks, "pyvips")
