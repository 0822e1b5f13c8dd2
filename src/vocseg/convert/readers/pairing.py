"""Match masks to images by what their names have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from vocseg.convert.source import common_start

LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".gif")


def match_names(images: list[str], masks: list[str]) -> tuple[dict[str, str], str]:
    """Return the mask's stem for each image's stem that has one, and the pattern of the masks' names if they differ.

    In order of preference: the same name; the image's name with a suffix (``_L``, ``_mask``) or prefix that most masks
    share; names that agree except for what all images and all masks begin and end with (``_leftImg8bit``,
    ``_labelIds``).

    >>> match_names(["001", "002", "003"], ["002_L", "003_L"])
    ({'002': '002_L', '003': '003_L'}, '<image>_L')
    >>> match_names(["img_1_rgb", "img_2_rgb"], ["img_1_gt", "img_2_gt"])[0]
    {'img_1_rgb': 'img_1_gt', 'img_2_rgb': 'img_2_gt'}
    """
    wanted, available = set(images), set(masks)
    if not available or not wanted:
        return {}, ""
    if available & wanted:
        return {stem: stem for stem in images if stem in available}, ""
    suffix, with_suffix = _commonest(_rest(mask, wanted) for mask in masks)
    backwards = {stem[::-1] for stem in wanted}
    prefix, with_prefix = _commonest(_rest(mask[::-1], backwards)[::-1] for mask in masks)
    if with_suffix or with_prefix:
        prefix, suffix = ("", suffix) if with_suffix >= with_prefix else (prefix, "")
        called = {stem: prefix + stem + suffix for stem in images}
        return {stem: mask for stem, mask in called.items() if mask in available}, f"{prefix}<image>{suffix}"
    cores, others = _cores(images), _cores(masks)
    pairs = {stem: others[core] for core, stem in cores.items() if core in others}
    image, mask = next(iter(pairs.items()), ("", ""))
    return pairs, f"{mask} for {image}"


def divide(files: list[Path]) -> tuple[list[Path], list[Path]]:
    """Divide files of one folder into images and masks: ``a.jpg`` and ``a.png``, or ``a.png`` and ``a_mask.png``."""
    masks = {path for path in files if path.suffix.lower() in LOSSLESS}
    stems = {path.stem for path in files}
    if not {path.stem for path in masks} & {path.stem for path in files if path not in masks}:
        suffix, _ = _commonest(rest for rest in (_rest(stem, stems) for stem in sorted(stems)) if not rest[:1].isalnum())
        masks = {path for path in files if suffix and path.stem.endswith(suffix)}
    return [path for path in files if path not in masks], [path for path in files if path in masks]


def _commonest(texts: Iterable[str]) -> tuple[str, int]:
    """Return the most frequent text that is not empty, and how often it occurs."""
    return next(iter(Counter(filter(None, texts)).most_common(1)), ("", 0))


def _rest(stem: str, known: set[str]) -> str:
    """Return what follows the longest of the ``known`` names that ``stem`` starts with, without ``stem`` itself."""
    return next((stem[cut:] for cut in range(len(stem) - 1, 0, -1) if stem[:cut] in known), "")


def _cores(stems: list[str]) -> dict[str, str]:
    """Map stems from what is left without the prefix and suffix that all share; numbers are never cut in two."""
    if len(stems) == 1:
        return {"": stems[0]}
    head = stems[0][: common_start(stems)].rstrip("0123456789")
    backwards = [stem[len(head) :][::-1] for stem in stems]
    tail = backwards[0][: common_start(backwards)][::-1].lstrip("0123456789")
    return {stem[len(head) : len(stem) - len(tail)]: stem for stem in stems}
