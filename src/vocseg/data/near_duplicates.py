"""Find exact and near-duplicates among images by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from vocseg.data.transforms.geometry import resize_image

SIDE = 32
"""Side of the thumbnail that is transformed, in pixels."""
FREQUENCIES = 12
"""Lowest frequencies kept along each axis."""
MAX_BITS = 24
"""Sign bits, of 143, in which near-duplicates may differ.

Copies at JPEG quality 20 and a quarter of the size differ in 4 on average, at most 27 (250 photographs); of 3 million
pairs of different photographs, and as many mirrored ones, none differs in fewer than 37.
"""
MAX_COLOR = 25.0
"""Mean difference of coarse colors (0 to 255) up to which images with similar structure are the same one."""
FLAT = 1.5
"""Standard deviation of a thumbnail (0 to 255) below which an image has no structure to compare."""
COARSE = 4
"""Side of the grid of coarse colors."""


@dataclass(frozen=True)
class Fingerprint:
    """A digest of an image's pixels and shape, the signs of its low frequencies, and its coarse colors."""

    digest: str
    signs: NDArray[np.int8]  # +1 or -1, all 0 for a flat image
    colors: NDArray[np.float32]  # 4 x 4 x 3, 0 to 255


def fingerprint(image: Tensor) -> Fingerprint:
    """Compute the fingerprint of an upright image (uint8 RGB, 3 x H x W).

    The signs of a thumbnail's low cosine frequencies survive re-encoding, resizing and changes of brightness or
    contrast (Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", DCT hash; here
    thresholded at 0, not at the median, so that the mirrored image's signs follow from the image's own).
    """
    digest = hashlib.blake2b(repr(tuple(image.shape)).encode(), digest_size=16)
    digest.update(image.contiguous().numpy().data)
    small = resize_image(image, (SIDE, SIDE)).numpy().astype(np.float32)
    gray = small.mean(0)
    signs = np.where(dctn(gray)[:FREQUENCIES, :FREQUENCIES] >= 0, 1, -1).astype(np.int8).ravel()[1:]
    block = SIDE // COARSE
    colors = small.reshape(3, COARSE, block, COARSE, block).mean((2, 4)).transpose(1, 2, 0)
    return Fingerprint(digest.hexdigest(), signs * np.int8(gray.std() >= FLAT), colors)


def near_duplicates(fingerprints: Sequence[Fingerprint]) -> list[tuple[int, ...]]:
    """Group the indices of images that are the same except for encoding, size, slight retouching or mirroring.

    Groups are disjoint, have at least two members, and are in order; an image joins a group if it resembles any member.
    Flat images (one color) must be identical. Takes about two seconds for 15,000 images.
    """
    first: dict[str, int] = {}
    pairs = [(index, first.setdefault(print_.digest, index)) for index, print_ in enumerate(fingerprints)]
    pairs += _alike(fingerprints, list(first.values()))
    if not pairs:
        return []
    ends = tuple(np.array(pairs, dtype=np.int32).T)  # SciPy's older versions take no other integers
    graph = coo_array((np.ones(len(pairs)), ends), shape=(len(fingerprints), len(fingerprints)))
    members: dict[int, list[int]] = {}
    for index, group in enumerate(connected_components(graph, directed=False)[1].tolist()):
        members.setdefault(group, []).append(index)
    return [tuple(group) for group in members.values() if len(group) > 1]


def _alike(fingerprints: Sequence[Fingerprint], candidates: Sequence[int], block: int = 2048) -> Iterator[tuple[int, int]]:
    """Yield pairs of near-duplicates among ``candidates``, whose pixels all differ."""
    chosen = [index for index in candidates if fingerprints[index].signs.any()]
    if len(chosen) < 2:
        return
    signs = torch.from_numpy(np.stack([fingerprints[index].signs for index in chosen])).float()
    colors = np.stack([fingerprints[index].colors for index in chosen])
    # Differing bits = (all - product of signs) / 2, so one matrix product gives a block of Hamming distances.
    least = signs.shape[1] - 2 * MAX_BITS
    mirror = (-1.0) ** torch.arange(FREQUENCIES).repeat(FREQUENCIES)[1:]  # mirroring negates the odd horizontal frequencies
    for other_signs, other_colors in ((signs, colors), (signs * mirror, colors[:, :, ::-1])):
        for start in range(0, len(chosen), block):
            rows, columns = torch.nonzero(signs[start : start + block] @ other_signs[start:].T >= least, as_tuple=True)
            upper = columns > rows
            ones, others = (rows[upper] + start).numpy(), (columns[upper] + start).numpy()
            apart = np.abs(colors[ones] - other_colors[others]).mean((1, 2, 3))
            for place in np.flatnonzero(apart <= MAX_COLOR):
                yield chosen[ones[place]], chosen[others[place]]
