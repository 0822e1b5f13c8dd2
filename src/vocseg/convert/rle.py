"""Encode and decode run lengths: COCO's, plain and packed into a string, and Label Studio's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vocseg.convert.regions import Region
from vocseg.errors import DataError


def encode(region: Region) -> dict[str, Any]:
    """Encode a region as COCO's packed run lengths, ``{"size": [H, W], "counts": str}``."""
    return {"size": list(region.shape), "counts": pack(runs(region))}


def decode(rle: dict[str, Any]) -> Region:
    """Decode COCO's run lengths, packed or a list. Raises DataError if they do not add up to the size."""
    try:
        height, width = (int(side) for side in rle["size"])
        counts = rle["counts"]
        lengths = np.asarray(unpack(counts) if isinstance(counts, (str, bytes)) else counts, dtype=np.int64).reshape(-1)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise DataError(f"malformed run lengths ({type(error).__name__}: {error})") from error
    # Python's sum: numpy's wraps around at 2^64, and np.repeat would then write past the end of its buffer.
    total = sum(lengths.tolist())
    if min(height, width) < 0 or total != height * width or (lengths < 0).any():
        raise DataError(f"run lengths add up to {total} pixels instead of {height}x{width} = {height * width}")
    if total > np.iinfo(np.int64).max:
        raise DataError(f"run lengths of {height}x{width} pixels are too many to count")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape((height, width), order="F")


def runs(region: Region) -> list[int]:
    """Return the lengths of alternating runs of 0s and 1s, down the columns, 0s first (COCO's uncompressed form)."""
    flat = region.reshape(-1, order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate(([0], edges, [flat.size]))).tolist()
    return [0, *lengths] if flat.size and flat[0] else lengths


def pack(counts: Sequence[int]) -> str:
    """Pack run lengths into COCO's string: differences to the one two before, as in ``rleToString`` (maskApi.c)."""
    text = []
    for index, count in enumerate(counts):
        rest = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            low, rest = rest & 0x1F, rest >> 5
            more = rest != (-1 if low & 0x10 else 0)
            text.append(chr((low | (0x20 if more else 0)) + 48))
    return "".join(text)


def unpack(text: str | bytes) -> list[int]:
    """Unpack run lengths from COCO's string (``rleFrString``, maskApi.c). Raises ValueError for other strings."""
    counts: list[int] = []
    value = shift = 0
    for code in text.encode("ascii") if isinstance(text, str) else text:
        bits = code - 48
        if not 0 <= bits < 64:
            raise ValueError(f"invalid character {chr(code)!r} in run lengths")
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            if bits & 0x10:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("run lengths are truncated")
    return counts


def decode_label_studio(data: Sequence[int], height: int, width: int) -> Region:
    """Decode a region painted in Label Studio: the pixels of its packed RGBA image that are not transparent.

    The format is @thi.ng/rle-pack's, as label-studio-converter reads it: number of values (32 bits), word size - 1 (5
    bits), four run sizes - 1 (4 bits each), then the runs: repeated or not (1 bit), index of the run size (2 bits),
    length - 1, and one or ``length`` values. Raises DataError for truncated data or another size.
    """
    try:
        bits = np.unpackbits(np.array(data, dtype=np.uint8))
        text = (bits + ord("0")).tobytes().decode()
        total, word = int(text[:32], 2), int(text[32:37], 2) + 1
        sizes = [int(text[start : start + 4], 2) + 1 for start in range(37, 53, 4)]
        if total != height * width * 4:
            raise DataError(f"painted region has {total} values instead of 4 for each of {height}x{width} pixels")
        out = np.empty(total, dtype=np.uint8)
        done, place = 0, 53
        while done < total:
            size = sizes[int(text[place + 1 : place + 3], 2)]
            length = int(text[place + 3 : place + 3 + size], 2) + 1
            start = place + 3 + size
            end = start + (word if text[place] == "1" else word * length)
            if end > len(bits) or done + length > total:
                raise DataError("run lengths of a painted region are truncated")
            out[done : done + length] = bits[start:end].reshape(-1, word) @ (1 << np.arange(word)[::-1]) & 0xFF
            done, place = done + length, end
    except (ValueError, TypeError, OverflowError, IndexError) as error:
        raise DataError(f"malformed run lengths of a painted region ({error})") from error
    return out.reshape(height, width, 4)[..., 3] > 0
