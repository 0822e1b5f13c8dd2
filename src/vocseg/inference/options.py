"""Options that cannot be used, or contradict each other, found before anything is read. Does not import torch."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vocseg.errors import ModelError, SettingError
from vocseg.utils.files import is_file_name
from vocseg.utils.urls import is_remote
from vocseg.voc import OPACITY

SMALLEST_TILE = 64
"""Least side of a tile, pixels: smaller ones have no room for an overlap of whole logits, and show next to nothing."""
CPU_ENGINES = ("openvino", "onnxruntime")
"""Engines that run on the CPU only."""
PACKAGES = {"openvino": ("openvino",), "onnxruntime": ("onnx", "onnxscript", "onnxruntime")}
"""What engines need."""


class Traits(NamedTuple):
    """What a format is: its name, or the class of a sink of one's own; the file that all images share, if there is one."""

    name: str
    is_mask: bool = False
    is_polygons: bool = False
    is_overlay: bool = False
    can_tile: bool = False
    shared: str = ""

    @property
    def is_own(self) -> bool:
        return self.name not in TRAITS


TRAITS = {
    traits.name: traits
    for traits in (
        Traits("mask", is_mask=True, can_tile=True),
        Traits("mask-video", is_mask=True),
        Traits("overlay", is_overlay=True, can_tile=True),
        Traits("cutout"),
        Traits("probabilities"),
        Traits("areas", can_tile=True, shared="areas.csv"),
        Traits("coco", is_polygons=True, can_tile=True, shared="coco.json"),
        Traits("labelme", is_polygons=True),
        Traits("yolo", is_polygons=True),
        Traits("geojson", is_polygons=True, can_tile=True),
        Traits("cvat", is_polygons=True, can_tile=True, shared="cvat.xml"),
        Traits("label-studio", is_polygons=True, can_tile=True, shared="label-studio.json"),
    )
}
"""Of the formats of ``predict``; a test compares them with the sinks."""


def default_formats(overlay: bool | None) -> Sequence[str]:
    """Return the formats that are written if none is named."""
    return ("mask",) if overlay is False else ("mask", "overlay")


def check_formats(
    kinds: Sequence[Traits], *, overlay: bool | None, opacity: float, simplify: float, skip_existing: bool, sharded: bool
) -> None:
    """Raise SettingError for options that formats contradict, or that have no effect on them."""
    names = [kind.name for kind in kinds]
    shown = ", ".join(names)
    has_overlay = any(kind.is_overlay for kind in kinds)
    if overlay and not has_overlay:
        raise SettingError(f"overlay (--overlay) is not among the formats (--format) {shown}; add the format overlay")
    if overlay is False and has_overlay:
        raise SettingError("no overlays (overlay=False, --no-overlay) contradicts the format overlay; leave one of them out")
    if not 0 <= opacity <= 1:
        raise SettingError(f"opacity {opacity:g} must lie in 0..1")
    if opacity != OPACITY and not any(kind.is_overlay or kind.is_own for kind in kinds):
        raise SettingError(f"opacity (--opacity) {opacity:g} is that of overlays, and none are written, only {shown}")
    if simplify and not any(kind.is_polygons for kind in kinds):
        polygons = ", ".join(kind.name for kind in TRAITS.values() if kind.is_polygons)
        raise SettingError(f"simplify (--simplify) {simplify:g} needs a format of polygons (--format): {polygons}")
    if {"mask", "mask-video"} <= set(names):
        raise SettingError("the formats mask and mask-video write the same masks; choose one")
    if skip_existing and not any(kind.is_mask for kind in kinds):
        raise SettingError("skip_existing (--skip-existing) finds earlier results by their masks; add the format mask")
    for kind in kinds:
        if sharded and kind.shared and kind.is_own:
            raise SettingError(f"{kind.name} writes {kind.shared} of all images, so it takes no shard (--shard)")


def check_tiles(
    kinds: Sequence[Traits], tile: int | None, overlap: int | None, max_short_side: int | None, skip_existing: bool
) -> None:
    """Raise SettingError for tiles that are too small, formats that are not written of them, and what they contradict."""
    if tile is None:
        if overlap is not None:
            raise SettingError(f"overlap (--overlap) {overlap} is that of tiles; give their size too (tile, --tile)")
        return
    if tile < SMALLEST_TILE:
        raise SettingError(f"tile is {tile}; it must be at least {SMALLEST_TILE} pixels")
    if max_short_side is not None:
        raise SettingError(
            f"tile (--tile) segments images at their full size, max_short_side (--max-short-side) {max_short_side} shrinks them; "
            "choose one"
        )
    tiled = ", ".join(kind.name for kind in TRAITS.values() if kind.can_tile)
    for kind in kinds:
        if not kind.can_tile:
            raise SettingError(
                f"of images in tiles (tile, --tile), formats are {tiled}, not {kind.name}, which needs all pixels at once"
            )
        if skip_existing and kind.shared:
            raise SettingError(
                f"of images in tiles (tile, --tile), {kind.shared} cannot be made from existing masks; leave out --skip-existing"
            )


def check_reading(stride: int, start: float, end: float | None, every: float | None) -> None:
    """Raise SettingError for a choice of frames that is none."""
    if stride < 1:
        raise SettingError(f"stride is {stride}, not a positive number of frames")
    for name, value in (("start", start), ("end", end), ("every", every)):
        if value is not None and not value >= (0 if name == "start" else 1e-6):
            raise SettingError(f"{name} is {value}, not a positive number of seconds")
    if end is not None and end <= start:
        raise SettingError(f"end is {end:g} s, not after start, {start:g} s")


def check_machine(device: str, precision: str, engine: str, exact: bool = False) -> None:
    """Raise ModelError or SettingError for what can run no network: an engine without its packages, contradictions."""
    if exact and (engine not in ("auto", "torch") or precision not in ("auto", "float32")):
        contrary = f"engine {engine}" if engine not in ("auto", "torch") else f"precision {precision}"
        raise SettingError(f"exact (--exact) runs the network unchanged, in torch and float32, which {contrary} contradicts")
    if engine in CPU_ENGINES and device.partition(":")[0] not in ("auto", "cpu"):
        raise ModelError(f"engine {engine} runs on the CPU only, not on {device}")
    require_packages(*PACKAGES.get(engine, ()))


def check_files(model: str | None, weights: str | None = None) -> None:
    """Raise ModelError if a model or its weights is a file that does not exist."""
    for kind, name in (("model", model), ("weights", weights)):
        if name is not None and is_file_name(name) and not is_remote(name) and not Path(name).exists():
            raise ModelError(f"no {kind} file {name}")


def require_packages(*packages: str) -> None:
    """Raise ModelError if one of the ``packages`` of an engine is not installed."""
    missing = [name for name in packages if importlib.util.find_spec(name.replace("-", "_")) is None]
    if missing:
        raise ModelError(f"{missing[0]} is not installed; pip install {' '.join(packages)}")
