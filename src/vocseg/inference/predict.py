"""Segment images and write the results."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from vocseg.convert.simplify import check_tolerance
from vocseg.data.color_table import read_colors
from vocseg.errors import DataError, InputError, OutputError, SettingError, nearest, shown
from vocseg.inference.augment import Augmentation
from vocseg.inference.engines import EngineName
from vocseg.inference.formats import SINKS, open_sinks, traits_of
from vocseg.inference.names import output_names
from vocseg.inference.options import check_formats, check_reading, check_tiles, default_formats
from vocseg.inference.polygons import Polygons
from vocseg.inference.predictions import Format, Predictions
from vocseg.inference.reading import expected
from vocseg.inference.remote import ClusterRun, RemoteNetwork
from vocseg.inference.run import Run
from vocseg.inference.segmenter import Segmenter, as_segmenter
from vocseg.inference.shards import network_settings, own_items, save_shard
from vocseg.inference.sinks import CollectingSink, Sink, closing_sinks
from vocseg.inference.sources import Item, find_images
from vocseg.inference.watch import NamedErrors, arrivals, watched_folder
from vocseg.models import ModelInfo
from vocseg.models.zoo.vocseg_s import NAME as DEFAULT_MODEL
from vocseg.utils.arguments import checked
from vocseg.utils.cluster import Cluster
from vocseg.utils.files import refuse_to_replace, writable_folder, write_json
from vocseg.utils.shards import Shard
from vocseg.utils.staging import staged, staging_of
from vocseg.utils.stand_ins import published
from vocseg.utils.text import counted
from vocseg.voc import OPACITY

log = logging.getLogger("vocseg.predict")

Palette = str | Path | Mapping[str, tuple[int, int, int]]
"""RGB colors of classes by name, or the file of a color table: lines ``name r g b``."""


@checked
@staged("out", "json")
def predict(
    images: str | Path | Item | Iterable[str | Path | Item],
    out: str | Path = "predictions",
    *,
    model: str | Path | nn.Module | Segmenter = DEFAULT_MODEL,
    weights: str | None = None,
    classes: Sequence[str] | None = None,
    overlay: bool | None = None,
    opacity: float = OPACITY,
    palette: Palette | None = None,
    device: str | torch.device = "auto",
    precision: str | torch.dtype = "auto",
    engine: EngineName = "auto",
    exact: bool = False,
    max_short_side: int | None = None,
    tta: Augmentation = "none",
    batch_size: int | None = None,
    frames: bool = False,
    stride: int = 1,
    start: float = 0.0,
    end: float | None = None,
    every: float | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    formats: Sequence[Format | type[Sink]] | None = None,
    simplify: float = 0.0,
    skip_existing: bool = False,
    watch: bool = False,
    shard: str | None = None,
    cluster: Cluster | None = None,
    json: str | Path | None = None,
    title: str | None = None,
) -> Predictions:
    """Segment images; write a palette PNG NAME.png and an overlay NAME_overlay.jpg of each to the folder ``out``.

    ``images``: files, folders, which are searched with all below them and whose structure is kept, glob patterns, lists
    (.txt, .csv), archives (zip, tar), addresses, URLs of stores (s3://bucket/photos/), ``-`` (standard input), videos,
    cameras and streams, or items of a source of your own (:class:`vocseg.inference.sources.Item`). Each page of a TIFF file,
    and with ``frames`` each frame of an animation, gets files in a folder of the file's name. So does each frame of a video, of
    which ``stride`` to ``every`` choose some (:meth:`vocseg.Segmenter.stream`); its overlay is one video with the times and the
    sound of its source. ``model`` and the options from ``weights`` to ``tta`` are those of :class:`vocseg.Segmenter`, which may
    be given as ``model`` itself. ``opacity``: of the overlays' tint, 0..1. ``palette``: other colors for classes, by name.
    ``formats``: what to write instead of masks and, if ``overlay``, overlays: names, or subclasses of
    :class:`vocseg.inference.sinks.Sink`. ``simplify``: leave out corners of polygons, whose borders move by so many pixels at
    most (:meth:`vocseg.Segmentation.polygons`); what that lost is in the result's ``simplified``. ``skip_existing``: do not
    segment images whose files of an earlier call are complete. ``watch``: predict what is in one folder and what arrives
    there, until KeyboardInterrupt (Ctrl-C). ``shard``: only share ``I/N`` of the images, I from 1 to N, each by its path below
    the folder searched; all shards may write to one ``out`` at once, and :func:`vocseg.merge` writes the files that images share.
    ``cluster``: where to segment, if not in this process (:func:`vocseg.ray.predict`).
    ``tile``: segment images at their full size in tiles of at most so many pixels, which overlap by ``overlap``
    (:meth:`vocseg.Segmenter.segment_tiled`; a TIFF file gives NAME.tif); without it, only TIFF files above the limit of pixels.
    ``json``: a file for areas, times and errors, written even if the call fails half-way. ``out``, ``json``, ``model`` and
    ``weights`` may be URLs too. ``title``: shows a progress bar on
    a terminal.

    An image that cannot be read is skipped; see :meth:`Predictions.check`. Masks and overlays of an earlier call are no
    images. Raises InputError if there are no images, ModelError for a model that cannot be used, OutputError if an output
    cannot be written or would replace an input or data, or if ``out`` is a folder of the images.

    >>> import tempfile
    >>> from vocseg.data.samples import FOLDER
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = predict(FOLDER / "JPEGImages" / "c*.jpg", folder, device="cpu", overlay=False)
    ...     [row.mask.name for row in result.images]
    ['camera.png', 'chelsea.png']
    """
    out = Path(out)
    sources: list[Any] = [images] if isinstance(images, str | Path | Item) else list(images)
    formats = formats or cast(Sequence[Format], default_formats(overlay))
    kinds = list(dict.fromkeys(SINKS[kind] if isinstance(kind, str) else kind for kind in formats))
    traits = [traits_of(kind) for kind in kinds]
    sharded = shard is not None or cluster is not None
    check_formats(traits, overlay=overlay, opacity=opacity, simplify=simplify, skip_existing=skip_existing, sharded=sharded)
    check_tolerance(simplify)
    check_tiles(traits, tile, overlap, max_short_side, skip_existing)
    check_reading(stride, start, end, every)
    part = None if shard is None else Shard.parse(shard)
    if cluster is not None and (part is not None or watch):
        raise SettingError("a cluster (--ray) takes no shard (--shard) and watches no folder (--watch)")
    if watch:
        watched_folder(sources)
    if part is not None:
        part.is_written(out, "predict")
    colors = _colors(palette)
    reading = {"batch_size": batch_size, "frames": frames, "stride": stride, "start": start, "end": end, "every": every}
    options: dict[str, Any] = {"weights": weights, "classes": classes, "device": device, "precision": precision, "engine": engine}
    options |= {"exact": exact, "max_short_side": max_short_side, "tta": tta}

    errors: dict[Any, DataError] = NamedErrors() if watch else {}
    listed = [] if watch else _named(sources, out, errors)
    if (stride, start, end, every) != (1, 0.0, None, None) and listed and not any(item.is_video for item in listed):
        log.warning("no videos among the images: stride, start, end and every have no effect")
    items = listed if part is None else own_items(part, listed, errors)
    shared = [out / kind.shared for kind in kinds if kind.shared and part is None]
    read = [str(name) for name in (model, weights, palette) if isinstance(name, str | Path)]
    _check_outputs(kinds, items, sources, out, [*shared, None if json is None else Path(json)], read)

    network = RemoteNetwork(model, options)
    segmenter = as_segmenter(model, **options) if cluster is None else network.described()
    info = _recolored(segmenter.info, colors)
    polygons = Polygons(info, simplify)
    is_new = not out.exists()
    sinks = open_sinks(kinds, writable_folder(out), info, opacity, polygons)
    collecting = [sink for sink in sinks if isinstance(sink, CollectingSink)]
    for one in collecting:
        one.entries_only = part is not None
    call = (segmenter, info, sinks, errors, reading, skip_existing, tile, overlap)
    run = Run(*call) if cluster is None else ClusterRun(cluster, network, kinds, out, opacity, polygons, *call)
    if not watch and (skip_existing or part is not None or cluster is not None):
        run.total = expected(listed, run.reading())  # one engine for all calls

    def result() -> Predictions:
        name = str(model) if isinstance(model, str | Path) else segmenter.info.architecture
        return replace(run.result(shown(name), shared), simplified=polygons.loss())

    try:
        with closing_sinks(sinks):
            if watch:
                _watch(run, sources, out, part, title)
            else:
                _predict_all(run, items, out, title)
            if part is not None and not watch:
                settings = network_settings(model, weights, segmenter, run.total or 0) | reading
                settings |= {"tile": tile, "overlap": overlap, "simplify": simplify, "formats": [trait.name for trait in traits]}
                save_shard(part, settings, listed, collecting, result(), out)
        if isinstance(run, ClusterRun):
            run.forget()
    finally:
        done = result()
        if is_new:
            with suppress(OSError):
                out.rmdir()  # nothing was written
        if json is not None:
            write_json(Path(json), done.to_dict())
    return done


def _predict_all(run: Run, items: Sequence[Item], out: Path, title: str | None) -> None:
    try:
        run.predict(items, title)
    except KeyboardInterrupt:
        total = f"{len(run.rows)} of {counted(len(items), 'image')}"
        done = counted(len(run.rows), "frame") if any(item.is_video for item in items) else total
        raise KeyboardInterrupt(f"{done} done, in {published(out)}") from None


def _watch(run: Run, sources: Sequence[Any], out: Path, part: Shard | None, title: str | None) -> None:
    """Predict what is in a folder and what arrives there, until KeyboardInterrupt."""
    with suppress(KeyboardInterrupt):
        for found in arrivals(watched_folder(sources), out, run.errors):
            run.predict(found if part is None else own_items(part, found, {}), title, log_each=True)


def _check_outputs(
    kinds: Sequence[type[Sink]], items: Sequence[Item], sources: Sequence[Any], out: Path, shared: Sequence[Path | None],
    read: Sequence[str],
) -> None:  # fmt: skip
    """Raise OutputError if an output, of an image or ``shared``, would replace an input, or be among the images."""
    files = [kind.path(out, item) for item in items for kind in kinds if kind.suffix and not kind.owner]
    owners = [out / kind.owner for kind in kinds if kind.owner]
    refuse_to_replace([*files, *owners, *shared], [*(item.path for item in items), *read])
    if staging_of(out) and (replaced := {published(file) for file in files} & {item.key for item in items}):
        raise OutputError(f"cannot write {replaced.pop()}: it would replace the input; choose another folder")
    for source in sources:
        if not isinstance(source, Item) and Path(source).is_dir() and Path(source).resolve() == out.resolve():
            raise OutputError(f"the folder {out} of the images cannot be that of their masks too; choose another for these")


def _named(sources: Sequence[Any], out: Path, errors: dict[Any, DataError]) -> list[Item]:
    """Find the images of the sources, each with the name of its outputs."""
    found = find_images(sources, out, errors)
    names = enumerate(output_names(found))
    return [item._replace(output=name, place=place) for item, (place, name) in zip(found, names, strict=True)]


def _colors(palette: Palette | None) -> Mapping[str, tuple[int, int, int]]:
    """Return RGB colors by class name; of a file, those of the names in it."""
    if not isinstance(palette, str | Path):
        return palette or {}
    table = read_colors(Path(palette))
    rows = [(label, (code >> 16, code >> 8 & 255, code & 255)) for code, label in table.labels.items()]
    return {table.names[label]: color for label, color in rows if label in table.names}


def _recolored(info: ModelInfo, colors: Mapping[str, tuple[int, int, int]]) -> ModelInfo:
    """Return the description of a model with other colors for the classes that ``colors`` names."""
    if unknown := [name for name in colors if name not in info.classes]:
        raise InputError(
            f"the palette names '{unknown[0]}', which the model does not predict{nearest(unknown[0], list(info.classes))}"
        )
    return replace(info, palette=tuple(colors.get(name, color) for name, color in zip(info.classes, info.palette, strict=True)))
