"""Images of a call of ``predict`` that are segmented in tiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vocseg.errors import DataError, TooManyPixels
from vocseg.inference.folders import is_prediction
from vocseg.inference.formats import traits_of
from vocseg.inference.polygon_sinks import PolygonSink
from vocseg.inference.predictions import Prediction
from vocseg.inference.reading import one_by_one
from vocseg.inference.sinks import MaskSink, Sink
from vocseg.inference.sources import Item
from vocseg.inference.stream import load
from vocseg.inference.strip_readers import is_tiff
from vocseg.inference.strip_writers import can_write_tiff
from vocseg.inference.tiles import TILE, segment_tiled
from vocseg.inference.video_sink import OverlaySink
from vocseg.utils.staging import is_there, staging_of, upload
from vocseg.utils.stand_ins import published
from vocseg.utils.text import counted

if TYPE_CHECKING:
    from vocseg.inference.run import Run


def predict_refused(run: Run, items: Sequence[Item], title: str | None) -> None:
    """Segment in tiles what the limit of pixels kept out, if it is TIFF, hardly a photograph; others are told how to.

    A photograph is better shrunk than segmented at full size.
    """
    refused = [item for item in items if isinstance(run.errors.get(item.key), TooManyPixels)]
    can_write = all(traits_of(type(sink)).can_tile for sink in run.sinks)
    huge = [item for item in refused if can_write and item.read is None and item.member is None and is_tiff(item.path)]
    for item in refused:
        error = run.errors.pop(item.key)
        if item not in huge:
            run.errors[item.key] = DataError(f"{error}, or segment it at full size in tiles: --tile {TILE}")
    predict_tiled(run, huge, TILE, None, title)


def predict_tiled(run: Run, items: Iterable[Item], tile: int, overlap: int | None, title: str | None) -> None:
    """Segment images in tiles and write the results; a TIFF file gets a TIFF mask, and overlays have fewer pixels."""
    for item in _read(items, run):
        try:
            source = item.path if item.read is None else load(0, item).pixels
            files = {type(sink): sink.file(item) for sink in run.sinks if sink.suffix}
            mask = files.get(MaskSink)
            if mask is not None and isinstance(source, Path) and is_tiff(source) and can_write_tiff():
                files[MaskSink] = mask = mask.with_name(mask.name.removesuffix(mask.suffix) + ".tif")
            if run.skip_existing and item.frame is None and mask is not None and _is_done(mask, files.values()):
                run.existing += 1
                continue
            run.add(_written(run, item, source, files, tile, overlap, title), item)
        except DataError as error:
            run.errors[item.key] = error


def _read(items: Iterable[Item], run: Run) -> Iterator[Item]:
    """Yield the items, with the content of archives and the frames of videos read in order; files stay as they are."""
    for (is_member, is_video), group in groupby(items, key=lambda item: (item.member is not None, item.is_video)):
        found = list(group)
        if is_video and run.skip_existing:
            yield from chain.from_iterable(map(run.remaining_frames, found))
        else:
            yield from one_by_one(found, run.reading()) if is_member or is_video else found


def _is_done(mask: Path, files: Iterable[Path]) -> bool:
    return all(map(is_there, files)) and (staging_of(mask) is not None or is_prediction(mask))


def _written(
    run: Run, item: Item, source: Any, files: dict[type[Sink], Path], tile: int, overlap: int | None, title: str | None
) -> Prediction:
    polygons, mask = any(isinstance(sink, PolygonSink) for sink in run.sinks), files.pop(MaskSink, None)
    result = segment_tiled(run.segmenter, source, mask, tile, overlap, title, run.info, polygons)
    for sink in run.sinks:
        sink.write_tiled(result, item)
    tiles = counted(result.tiles, "tile")
    notes = (f"segmented at full size in {tiles} of {result.tile} pixels that overlap by {result.overlap}", *result.notes)
    overlay = files.pop(OverlaySink, None)
    upload(file for file in (mask, overlay, *files.values()) if file is not None)
    named, overview = (None if file is None else published(file) for file in (mask, overlay))
    row = Prediction(item.key, str(item.relative), named, overview, result.seconds, result.areas, None, notes)
    return replace(row, files=tuple(map(published, files.values())))
