"""What was read of the images and masks of a shard, in a file: from those of all shards comes one diagnosis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vocseg.data.layout import refuse_inside
from vocseg.data.near_duplicates import COARSE, Fingerprint
from vocseg.doctor.checks import ImageFacts, MaskFacts, without_path
from vocseg.doctor.survey import Legend, MaskKey, Survey
from vocseg.errors import DataError
from vocseg.utils.files import read_json, write_json
from vocseg.utils.shards import Manifest, Shard, stamps

FACTS = "facts.json"
"""Name of the file in the folder of a shard."""

Facts = tuple[dict[str, ImageFacts], dict[MaskKey, MaskFacts], list[str]]
"""Of images, of masks, and the names of tar files of a packed data set that are not as they were written."""


def of_shard(
    whole: Survey, found: Survey, legend: Legend, shard: Shard, out: str | Path | None, asked: Mapping[str, Any],
    read: Callable[[], Facts],
) -> Facts:  # fmt: skip
    """Return what ``read`` reads for a shard, unless an earlier call has; write it to the shard's folder in ``out``.

    ``asked``: arguments of :func:`vocseg.doctor.survey.survey`, for the merge.
    """
    if out is not None:
        refuse_inside(Path(out), whole.root)
    colors = [list(color) for color in legend.colors]
    settings = {**asked, "splits": [split.name for split in whole.splits], "classes": list(legend.classes), "colors": colors}
    keys = sorted(found.keys())
    paths = [path for folder, name in keys for path in (found.images[name], found.masks[folder][name])]
    paths += [found.root / file.file for file in found.packed if (found.root / file.file).exists()]
    manifest = Manifest.of("data doctor", shard, settings, map("/".join, whole.keys()), stamps(paths), whole.root)
    return manifest.once(out, lambda folder: load(folder, found), read, lambda facts, folder: save(folder, *facts))


def save(folder: Path, images: Mapping[str, ImageFacts], masks: Mapping[MaskKey, MaskFacts], damaged: Sequence[str]) -> None:
    """Write facts to a folder, with the names of files instead of paths."""
    rows = [{"mask_dir": key[0], "id": key[1], **_mask_row(mask)} for key, mask in masks.items()]
    image_rows = [{"id": name, **_image_row(image)} for name, image in images.items()]
    write_json(folder / FACTS, {"images": image_rows, "masks": rows, "damaged": damaged})


def load(folder: Path, found: Survey) -> Facts:
    """Read facts of the files of a survey; DataError if the file is damaged, or the data has changed since."""
    values = read_json(folder / FACTS)
    try:
        images = {row["id"]: _image(row, found.images[row["id"]]) for row in values["images"]}
        keyed = (((row["mask_dir"], row["id"]), row) for row in values["masks"])
        return images, {key: _mask(row, found.masks[key[0]][key[1]]) for key, row in keyed}, [*map(str, values["damaged"])]
    except (LookupError, TypeError, ValueError) as error:
        raise DataError(f"{folder / FACTS} does not fit {found.root}: {error!r:.80}") from error


def _image_row(image: ImageFacts) -> dict[str, Any]:
    error = image.error and without_path(image.error, image.path)
    row: dict[str, Any] = {"size": image.size, "orientation": image.orientation, "error": error}
    if (one := image.fingerprint) is not None:
        colors = np.ascontiguousarray(one.colors, "<f4").tobytes().hex()
        row["fingerprint"] = {"digest": one.digest, "signs": one.signs.tobytes().hex(), "colors": colors}
    return row


def _image(row: Mapping[str, Any], path: Path) -> ImageFacts:
    found = row.get("fingerprint")
    one = None
    if found is not None:
        signs = np.frombuffer(bytes.fromhex(found["signs"]), np.int8)
        colors = np.frombuffer(bytes.fromhex(found["colors"]), "<f4").astype(np.float32).reshape(COARSE, COARSE, 3)
        one = Fingerprint(found["digest"], signs, colors)
    height, width = row["size"]
    return ImageFacts(path, (height, width), row["orientation"], one, row["error"])


def _mask_row(mask: MaskFacts) -> dict[str, Any]:
    counts = {str(label): int(mask.counts[label]) for label in np.flatnonzero(mask.counts).tolist()}
    return {
        "size": mask.size, "kind": mask.kind, "mode": mask.mode, "counts": counts, "foreign": mask.foreign,
        "between": mask.between, "order": None if mask.order is None else list(mask.order.items()),
        "error": mask.error and without_path(mask.error, mask.path), "lossy": mask.lossy, "colors": list(mask.colors.items()),
    }  # fmt: skip


def _mask(row: Mapping[str, Any], path: Path) -> MaskFacts:
    counts = np.zeros(256, np.int64)
    for label, count in row["counts"].items():
        counts[int(label)] = count
    height, width = row["size"]
    order = None if row["order"] is None else dict(row["order"])
    colors = {label: (red, green, blue) for label, (red, green, blue) in row["colors"]}
    values = {name: row[name] for name in ("foreign", "between", "error", "lossy")}
    return MaskFacts(path, (height, width), row["kind"], row["mode"], counts, order=order, colors=colors, **values)
