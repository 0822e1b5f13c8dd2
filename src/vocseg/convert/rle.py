"""Encode regions as COCO's run lengths, and decode these and Label Studio's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vocseg.convert.regions import Pixels, Region, crop
from vocseg.errors import DataError


def encode(region: Pixels) -> dict[str, Any]:
    """Encode a region as COCO's packed run lengths, ``{"size": [H, W], "counts": str}``."""
    return {"size": list(region.shape), "counts": pack(runs(region))}


def decode(rle: dict[str, Any], height: int, width: int) -> Region:
    """Decode COCO's run lengths, packed or a list. Raises DataError if they are not those of an image of that size."""
    try:
        size = [int(side) for side in rle["size"]]
        counts = rle["counts"]
        lengths = unpack(counts) if isinstance(counts, (str, bytes)) else [int(count) for count in counts]
        if size != [height, width]:
            raise DataError(f"run lengths of {'x'.join(map(str, size))} in an image of {height}x{width}")
        if not isinstance(counts, (str, bytes)) and lengths != list(counts):
            raise ValueError("not whole numbers")
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise DataError(f"malformed run lengths ({type(error).__name__}: {error})") from error
    # Python's sum: numpy's wraps around at 2^64, and np.repeat would then write past the end of its buffer.
    if min(lengths, default=0) < 0:
        raise DataError(f"run lengths hold {min(lengths)}, which is negative")
    if sum(lengths) != height * width:
        raise DataError(f"run lengths add up to {sum(lengths)} pixels instead of {height}x{width} = {height * width}")
    ends = np.cumsum(lengths)
    drawn = np.flatnonzero(np.array(lengths[1::2]))
    if not len(drawn):
        return Region(np.zeros((0, 0), dtype=bool))
    # Only the columns that hold pixels are decoded.
    left, right = int(ends[2 * drawn[0]]) // height, -(-int(ends[2 * drawn[-1] + 1]) // height)
    inside = np.diff(np.clip(ends - left * height, 0, (right - left) * height), prepend=0)
    columns = np.repeat(np.arange(len(lengths)) % 2 == 1, inside).reshape((height, right - left), order="F")
    region = crop(columns)
    return region._replace(left=region.left + left)


def runs(region: Pixels) -> list[int]:
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
        if shift > 75:
            raise ValueError("a run length of more than 64 bits")
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
    return crop(out.reshape(height, width, 4)[..., 3] > 0)
