"""Write palette images whose rows come from top to bottom, some at a time: PNG, or TIFF in tiles."""

from __future__ import annotations

import importlib.util
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from vocseg.draw import Colors, full_palette
from vocseg.errors import OutputError, SettingError
from vocseg.utils.files import MARK, replacing

TIFF_SUFFIXES = (".tif", ".tiff")
SIDE = 256
"""Side of the tiles of a TIFF file, pixels."""
LEVEL = 6
"""Of zlib; masks shrink a hundredfold."""

Strips = Iterable[NDArray[np.uint8]]
"""Rows x width of class ids, from top to bottom."""


def can_write_tiff() -> bool:
    """Tell whether TIFF masks can be written: tifffile is installed."""
    return importlib.util.find_spec("tifffile") is not None


def check_suffix(path: Path) -> None:
    """Raise OutputError unless a mask can be written to a file of this name."""
    suffix = path.suffix.lower()
    if suffix in TIFF_SUFFIXES and not can_write_tiff():
        raise SettingError(f"cannot write {path}: tifffile is not installed; pip install 'vocseg[tiles]', or write a .png")
    if suffix not in (".png", *TIFF_SUFFIXES):
        raise OutputError(f"cannot write {path}: a mask in tiles is a .png or a .tif")


def write_strips(path: Path, strips: Strips, size: tuple[int, int], palette: Colors, geo_tags: Sequence[Any] = ()) -> None:
    """Write a mask of ``size`` (height, width) atomically; ``geo_tags``: extra tags of a TIFF file, as tifffile takes them.

    Nothing is left behind if ``strips`` raise an error. Raises OutputError if the file cannot be written.
    """
    with replacing(path) as temporary:
        if path.suffix.lower() in TIFF_SUFFIXES:
            _write_tiff(temporary, strips, size, palette, geo_tags)
        else:
            with open(temporary, "wb") as file:
                _write_png(file, strips, size, palette)


def _write_png(file: IO[bytes], strips: Strips, size: tuple[int, int], palette: Colors) -> None:
    """Write a palette PNG of 8 bits (ISO/IEC 15948); each strip is a chunk of its own."""

    def chunk(kind: bytes, content: bytes) -> None:
        file.write(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content)))

    file.write(b"\x89PNG\r\n\x1a\n")
    chunk(b"IHDR", struct.pack(">IIBBBBB", size[1], size[0], 8, 3, 0, 0, 0))
    chunk(b"PLTE", bytes(part for color in full_palette(palette) for part in color))
    chunk(b"tEXt", b"Software\0" + MARK)
    packer = zlib.compressobj(LEVEL)
    for strip in strips:
        # Each row begins with its filter: none.
        rows = np.zeros((strip.shape[0], strip.shape[1] + 1), np.uint8)
        rows[:, 1:] = strip
        if content := packer.compress(rows.tobytes()):
            chunk(b"IDAT", content)
    chunk(b"IDAT", packer.flush())
    chunk(b"IEND", b"")


def _write_tiff(path: Path, strips: Strips, size: tuple[int, int], palette: Colors, geo_tags: Sequence[Any]) -> None:
    """Write a palette TIFF in compressed tiles, as BigTIFF if it may need more than 4 GB."""
    import tifffile

    colors = np.array(full_palette(palette), np.uint16).T * 257
    with tifffile.TiffWriter(path, bigtiff=size[0] * size[1] > 1 << 31) as file:
        file.write(
            _tiles(strips, size[0]), shape=size, dtype=np.uint8, tile=(SIDE, SIDE), photometric="palette", colormap=colors,
            compression="zlib", software=MARK.decode(), metadata=None, extratags=geo_tags, maxworkers=1,
        )  # fmt: skip


def _tiles(strips: Strips, height: int) -> Iterator[NDArray[np.uint8]]:
    """Cut strips into tiles, row by row; those at the right and at the bottom may be smaller."""
    held: list[NDArray[np.uint8]] = []
    ready = written = 0
    for strip in strips:
        held.append(strip)
        ready += len(strip)
        while ready >= SIDE or (ready and written + ready == height):
            rows = np.concatenate(held)
            for column in range(0, rows.shape[1], SIDE):
                yield np.ascontiguousarray(rows[:SIDE, column : column + SIDE])
            held, ready, written = [rows[SIDE:]], max(0, ready - SIDE), written + min(SIDE, ready)
