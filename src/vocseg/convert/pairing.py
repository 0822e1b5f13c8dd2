"""Which mask belongs to which image, by what their names have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from vocseg.convert.source import common_start

LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".gif")


def match_names(images: Iterable[str], masks: Iterable[str]) -> tuple[dict[str, str], str]:
    """The mask's stem for each image's stem that has one, and how masks are called where it is not the same.

    Tried in turn: the same name; the image's name with an ending (``_L``, ``_mask``) or a beginning that most masks
    share; names that agree but for what all images and all masks begin and end with (``_leftImg8bit``, ``_labelIds``).

    >>> match_names(["001", "002", "003"], ["002_L", "003_L"])
    ({'002': '002_L', '003': '003_L'}, '<image>_L')
    >>> match_names(["img_1_rgb", "img_2_rgb"], ["img_1_gt", "img_2_gt"])[0]
    {'img_1_rgb': 'img_1_gt', 'img_2_rgb': 'img_2_gt'}
    """
    images, masks = list(images), list(masks)
    have, wanted = set(masks), set(images)
    if not have or not wanted:
        return {}, ""
    if have & wanted:
        return {stem: stem for stem in images if stem in have}, ""
    tails = Counter(tail for mask in masks if (tail := _rest(mask, wanted)))
    heads = Counter(tail[::-1] for mask in masks if (tail := _rest(mask[::-1], {stem[::-1] for stem in wanted})))
    tail, head = (max(ends, key=lambda end: ends[end], default="") for ends in (tails, heads))
    if tails[tail] >= max(heads[head], 1):
        return {stem: stem + tail for stem in images if stem + tail in have}, f"<image>{tail}"
    if heads[head]:
        return {stem: head + stem for stem in images if head + stem in have}, f"{head}<image>"
    cores, others = _cores(images), _cores(masks)
    pairs = {stem: others[core] for core, stem in cores.items() if core in others}
    one, other = next(iter(pairs.items()), ("", ""))
    return pairs, f"{other} for {one}"


def divide(files: list[Path]) -> tuple[list[Path], list[Path]]:
    """Images and masks that lie in one folder: ``a.jpg`` with ``a.png``, or ``a.png`` with ``a_mask.png``."""
    lossless = {path.stem for path in files if path.suffix.lower() in LOSSLESS}
    others = {path.stem for path in files if path.suffix.lower() not in LOSSLESS}
    if lossless & others:
        return [p for p in files if p.suffix.lower() not in LOSSLESS], [p for p in files if p.suffix.lower() in LOSSLESS]
    stems = lossless | others
    tails = Counter(tail for stem in stems if (tail := _rest(stem, stems)) and not tail[0].isalnum())
    tail = max(tails, key=lambda end: tails[end], default="")
    if not tail:
        return files, []
    return [path for path in files if not path.stem.endswith(tail)], [path for path in files if path.stem.endswith(tail)]


def _rest(stem: str, known: set[str]) -> str:
    """What follows the longest of the ``known`` names that ``stem`` starts with and goes beyond."""
    return next((stem[cut:] for cut in range(len(stem) - 1, 0, -1) if stem[:cut] in known), "")


def _cores(stems: list[str]) -> dict[str, str]:
    """Stems by what is left without the beginning and ending that all share; numbers are never cut in two."""
    if len(stems) == 1:
        return {"": stems[0]}
    head = stems[0][: common_start(stems)].rstrip("0123456789")
    backwards = [stem[len(head) :][::-1] for stem in stems]
    tail = backwards[0][: common_start(backwards)][::-1].lstrip("0123456789")
    return {stem[len(head) : len(stem) - len(tail)]: stem for stem in stems}
