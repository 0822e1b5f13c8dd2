"""Run lengths: COCO's, plain and packed into a string, and Label Studio's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocseg.errors import DataError

Region = NDArray[np.bool_]


def encode(region: Region) -> dict[str, Any]:
    """A region (bool, H x W) as COCO's packed run lengths, ``{"size": [H, W], "counts": str}``."""
    return {"size": list(region.shape), "counts": pack(runs(region))}


def decode(rle: dict[str, Any]) -> Region:
    """The region of COCO's run lengths, packed or a list; DataError where they do not add up to the size."""
    try:
        height, width = (int(side) for side in rle["size"])
        counts = rle["counts"]
        lengths = np.asarray(unpack(counts) if isinstance(counts, (str, bytes)) else counts, dtype=np.int64).reshape(-1)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise DataError(f"malformed run lengths ({type(error).__name__}: {error})") from error
    # Python's sum: numpy's wraps around at 2^64, and np.repeat would write past the end of what it has allocated.
    total = sum(lengths.tolist())
    if min(height, width) < 0 or total != height * width or (lengths < 0).any():
        raise DataError(f"run lengths add up to {total} pixels, not to {height}x{width} = {height * width}")
    if total > np.iinfo(np.int64).max:
        raise DataError(f"run lengths of {height}x{width} pixels are too many to count")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape((height, width), order="F")


def runs(region: Region) -> list[int]:
    """Lengths of runs of 0 and 1 in turn, down the columns, starting with 0s (COCO's uncompressed form)."""
    flat = region.reshape(-1, order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate(([0], edges, [flat.size]))).tolist()
    return [0, *lengths] if flat.size and flat[0] else lengths


def pack(counts: Sequence[int]) -> str:
    """Run lengths as COCO's string: each minus the one two before it, six bits a character (``rleToString``, maskApi.c)."""
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
    """Run lengths of COCO's string (``rleFrString``, maskApi.c). Raises ValueError for a string cut short or no such string."""
    counts: list[int] = []
    value = shift = 0
    for code in text.encode("ascii") if isinstance(text, str) else text:
        bits = code - 48
        if not 0 <= bits < 64:
            raise ValueError(f"character {chr(code)!r} in run lengths")
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            if bits & 0x10:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("run lengths are cut short")
    return counts


def decode_label_studio(data: Sequence[int], height: int, width: int) -> Region:
    """The region painted in Label Studio: pixels of its run-length packed RGBA image that are not transparent.

    The format is @thi.ng/rle-pack's, as label-studio-converter reads it: 32 bits number of values, 5 bits word size - 1,
    four times 4 bits run size - 1, then runs: 1 bit repeated or not, 2 bits which run size, length - 1, and one or
    ``length`` values. Raises DataError where it is cut short or is not of that size.
    """
    try:
        bits = np.unpackbits(np.array(data, dtype=np.uint8))
        text = (bits + ord("0")).tobytes().decode()
        total, word = int(text[:32], 2), int(text[32:37], 2) + 1
        sizes = [int(text[37 + 4 * index : 41 + 4 * index], 2) + 1 for index in range(4)]
        if total != height * width * 4:
            raise DataError(f"painted region has {total} values, not 4 for each of {height}x{width} pixels")
        out = np.empty(total, dtype=np.uint8)
        done, place = 0, 53
        while done < total:
            size = sizes[int(text[place + 1 : place + 3], 2)]
            length = int(text[place + 3 : place + 3 + size], 2) + 1
            repeated = text[place] == "1"
            place += 3 + size
            width_ = word if repeated else word * length
            chunk = bits[place : place + width_]
            if len(chunk) < width_ or done + length > total:
                raise DataError("run lengths of a painted region are cut short")
            out[done : done + length] = chunk.reshape(-1, word) @ (1 << np.arange(word)[::-1]) & 0xFF
            done, place = done + length, place + width_
    except (ValueError, TypeError, OverflowError, IndexError) as error:
        raise DataError(f"malformed run lengths of a painted region ({error})") from error
    return out.reshape(height, width, 4)[..., 3] > 0
