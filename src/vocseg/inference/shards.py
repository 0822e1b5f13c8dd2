"""Shards of predictions: what their masks depend on, their images, and the files that the images of all shards share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vocseg.errors import DataError, InputError
from vocseg.inference.formats import SINKS, traits_of
from vocseg.inference.optimize import OptimizedModel
from vocseg.inference.predictions import Predictions
from vocseg.inference.segmenter import Segmenter
from vocseg.inference.sinks import CollectingSink
from vocseg.inference.sources import Item
from vocseg.models import ModelInfo
from vocseg.utils.files import read_json, refuse_to_replace, writable_folder, write_json
from vocseg.utils.shards import FOLDER_NAME, Manifest, Shard, loaded, named_file, own_names
from vocseg.utils.stand_ins import published

SUMMARY = "predictions.json"
"""What a shard of predictions wrote, in its folder."""
COLLECTING = {kind.shared: kind for kind in SINKS.values() if issubclass(kind, CollectingSink)}
"""Sinks by the files that images share."""


def network_settings(model: object, weights: str | None, segmenter: Segmenter, total: int) -> dict[str, Any]:
    """Return by name what the masks of ``total`` images depend on: the model, how it is run, and on what."""
    network = segmenter.network
    return {
        "model": named_model(model, segmenter),
        "weights": None if weights is None else named_file(weights),
        "classes": list(segmenter.info.classes),
        "device": segmenter.device.type,
        "precision": segmenter.precision,
        "engine": network.engine_for(total) if isinstance(network, OptimizedModel) else "exact",
        "max_short_side": segmenter.max_short_side,
        "tta": segmenter.tta,
    }


def named_model(model: object, segmenter: Segmenter) -> str:
    """Return the name of a model; of a file or a network in memory with a hash of its content."""
    if isinstance(model, str | Path):
        return named_file(model)
    network = model if isinstance(model, nn.Module) else segmenter.model
    total = hashlib.sha256()
    for name, values in network.state_dict().items():
        total.update(name.encode())
        total.update(values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return f"{segmenter.info.architecture} ({total.hexdigest()[:16]})"


def own_items(shard: Shard, items: Iterable[Item], errors: dict[Any, DataError]) -> list[Item]:
    """Return the images of a shard; of the ``errors``, those of other shards are deleted.

    Raises InputError if masks would be among the results of a shard, which the next run of that shard replaces.
    """
    items = list(items)
    if wrong := [item for item in items if any(map(FOLDER_NAME.fullmatch, item.relative.parts[:1]))]:
        name = wrong[0].relative.parts[0]
        raise InputError(f"the folder {name} of image {wrong[0].path} has the name of a shard's results: rename it")
    for key in [key for key in errors if not shard.holds(str(key))]:
        del errors[key]
    return [item for item in items if shard.holds(item.relative.as_posix())]


def save_shard(
    shard: Shard, settings: dict[str, Any], items: Iterable[Item], sinks: Iterable[CollectingSink], result: Predictions, out: Path
) -> None:
    """Write what a shard adds to the files that images share, and what it did, to its folder; ``items``: of all shards."""
    names = [item.relative.as_posix() for item in items]
    manifest = Manifest.of("predict", shard, settings, names, own_names(shard, names), out)
    with manifest.writing(out) as folder:
        for sink in sinks:
            sink.save(folder / f"{sink.shared}.part")
        write_json(folder / SUMMARY, result.to_dict())


def merge_shared(shards: Mapping[Path, Manifest], out: Path | None) -> dict[str, Any]:
    """Write the files that the images of all shards share to ``out``, in the order of the images; return what was done."""
    summaries = [loaded(lambda folder: read_json(folder / SUMMARY), folder) for folder in shards]
    settings = next(iter(shards.values())).settings
    shared = [name for name, kind in COLLECTING.items() if traits_of(kind).name in settings["formats"]]
    if out is not None:
        refuse_to_replace([out / name for name in shared])
        info = ModelInfo(str(settings["model"]), tuple(settings["classes"]))
        for name in shared:
            _merge_file([folder / f"{name}.part" for folder in shards], COLLECTING[name](writable_folder(out), info))
    rows, skipped = (
        sorted((row for summary in summaries for row in summary[name]), key=lambda row: str(row["image"]))
        for name in ("predictions", "skipped")
    )
    existing = sum(summary.get("existing", 0) for summary in summaries)
    files = [] if out is None else [str(published(out / name)) for name in shared]
    done = {"model": settings["model"], "images": len(rows), "predictions": rows, "skipped": skipped}
    return done | ({"existing": existing} if existing else {}) | ({"files": files} if files else {})


def _merge_file(parts: Sequence[Path], sink: CollectingSink) -> None:
    """Add the entries of shards to a sink, in the order of their images, and write its file; entries stay on the disk."""
    places: list[tuple[int, int, int]] = []
    with ExitStack() as stack:
        try:
            files = [stack.enter_context(open(part, "rb")) for part in parts]
            for number, file in enumerate(files):
                start = 0
                for line in file:
                    places.append((int(line.split(b" ", 1)[0]), number, start))
                    start += len(line)
            for _, number, start in sorted(places):
                files[number].seek(start)
                sink.put(json.loads(files[number].readline().split(b" ", 1)[1]))
        except (OSError, ValueError, LookupError) as error:
            raise DataError(
                f"cannot merge {parts[0].name} of {parts[0].parent} and other shards: {error}; run them again"
            ) from error
    sink.close()
