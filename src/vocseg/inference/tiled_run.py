"""Images of a call of ``predict`` that are segmented in tiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vocseg.errors import DataError, SettingError, TooManyPixels
from vocseg.inference.predictions import Prediction
from vocseg.inference.reading import one_by_one
from vocseg.inference.sinks import MaskSink, Sink
from vocseg.inference.sources import Item, is_prediction
from vocseg.inference.stream import load
from vocseg.inference.strip_readers import is_tiff
from vocseg.inference.strip_writers import can_write_tiff
from vocseg.inference.tiles import TILE, segment_tiled
from vocseg.inference.video import Reading
from vocseg.inference.video_sink import OverlaySink
from vocseg.utils.text import counted

if TYPE_CHECKING:
    from vocseg.inference.run import Run

KINDS = (MaskSink, OverlaySink)
"""What is written of images in tiles."""


def check_formats(kinds: Iterable[type[Sink]]) -> None:
    """Raise SettingError for formats that are not written of images in tiles."""
    if others := [kind.__name__ for kind in kinds if kind not in KINDS]:
        raise SettingError(f"of images in tiles (tile, --tile), masks and overlays are written, not {others[0]}")


def predict_refused(run: Run, items: Sequence[Item], title: str | None) -> None:
    """Segment in tiles what the limit of pixels kept out, if it is TIFF, hardly a photograph; others are told how to.

    A photograph is better shrunk than segmented at full size.
    """
    refused = [item for item in items if isinstance(run.errors.get(item.key), TooManyPixels)]
    only_files = all(isinstance(sink, KINDS) for sink in run.sinks)
    huge = [item for item in refused if only_files and item.read is None and item.member is None and is_tiff(item.path)]
    for item in refused:
        error = run.errors.pop(item.key)
        if item not in huge:
            run.errors[item.key] = DataError(f"{error}, or segment it at full size in tiles: --tile {TILE}")
    predict_tiled(run, huge, TILE, None, title)


def predict_tiled(run: Run, items: Iterable[Item], tile: int, overlap: int | None, title: str | None) -> None:
    """Segment images in tiles and write masks (TIFF of a TIFF file, else PNG) and overlays, of fewer pixels."""
    for item in _read(items):
        try:
            source = item.path if item.read is None else load(0, item).pixels
            files = {type(sink): sink.file(item) for sink in run.sinks}
            mask, overlay = files.get(MaskSink), files.get(OverlaySink)
            if mask is not None and isinstance(source, Path) and is_tiff(source) and can_write_tiff():
                mask = mask.with_name(mask.name.removesuffix(mask.suffix) + ".tif")
            if run.skip_existing and mask is not None and _is_done(mask, overlay):
                run.existing += 1
                continue
            run.rows.append(_written(run, item, source, mask, overlay, tile, overlap, title))
        except DataError as error:
            run.errors[item.key] = error


def _read(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items, with the content of archives read in order; files stay as they are."""
    for are_members, group in groupby(items, key=lambda item: item.member is not None):
        found = list(group)
        yield from one_by_one(found, Reading()) if are_members else found


def _is_done(mask: Path, overlay: Path | None) -> bool:
    return mask.is_file() and is_prediction(mask) and (overlay is None or overlay.is_file())


def _written(
    run: Run, item: Item, source: Any, mask: Path | None, overlay: Path | None, tile: int, overlap: int | None, title: str | None
) -> Prediction:
    result = segment_tiled(run.segmenter, source, mask, tile, overlap, title, run.info)
    if overlay is not None:
        opacity = next(sink.opacity for sink in run.sinks if isinstance(sink, OverlaySink))
        result.overview.save(overlay, opacity=opacity)
    tiles = counted(result.tiles, "tile")
    notes = (f"segmented at full size in {tiles} of {result.tile} pixels that overlap by {result.overlap}", *result.notes)
    return Prediction(item.key, str(item.relative), mask, overlay, result.seconds, result.areas, None, notes)
