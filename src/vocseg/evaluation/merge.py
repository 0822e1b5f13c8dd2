"""Put the results of shards together."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vocseg.data.label_checks import check_labels_of_split
from vocseg.data.layout import protect_data
from vocseg.doctor import facts
from vocseg.doctor.checks import ImageFacts, MaskFacts
from vocseg.doctor.examine import Diagnosis, diagnose
from vocseg.doctor.survey import MaskKey, find_legend, survey
from vocseg.errors import InputError
from vocseg.evaluation.label_result import PAGE, REVIEW, LabelErrors, refuse_reviewed
from vocseg.evaluation.result import Evaluation, result_files
from vocseg.inference.shards import merge_shared
from vocseg.utils.arguments import checked
from vocseg.utils.files import refuse_to_replace, write_json
from vocseg.utils.shards import Manifest, digest, find_shards, loaded
from vocseg.utils.staging import staged
from vocseg.utils.urls import is_remote

Shards = Mapping[Path, Manifest]


@checked
@staged("out", "json")
def merge(
    results: str | Path | Sequence[str | Path],
    out: str | Path | None = None,
    *,
    data: str | Path | None = None,
    json: str | Path | None = None,
) -> Evaluation | LabelErrors | Diagnosis | dict[str, Any]:
    """Put the results of all shards of ``evaluate``, ``score``, ``find_label_errors``, ``examine`` or ``predict`` together.

    ``results``: folders of shards, ``shard-I-of-N``, or the folders that hold them, or their URLs. ``out``: a folder
    for the whole result, which may be the one that holds the shards; its files are those that one run writes, except for times
    and paths. Of ``predict``, these are the files that images share, such as ``areas.csv``, and what is returned is what
    ``json`` gets. ``data``: where the data set is now, which label errors and the doctor need; by default where it was.
    ``json``: a file for the numbers.

    Raises InputError, naming the folders and the values, for shards of other models, splits, settings, lists of images, or
    numbers of shards, for missing ones, and for one that is there twice; DataError if a file is damaged.

    >>> import tempfile, vocseg
    >>> from vocseg.data.samples import FOLDER
    >>> folder = tempfile.mkdtemp()
    >>> for shard in ("1/2", "2/2"):
    ...     part = vocseg.evaluate("vocseg-s", FOLDER, "samples", device="cpu", shard=shard, out=folder)
    >>> merge(folder).miou == vocseg.evaluate("vocseg-s", FOLDER, "samples", device="cpu").miou
    True
    """
    shards = find_shards([results] if isinstance(results, str | Path) else results)
    verb = next(iter(shards.values())).verb
    result: Evaluation | LabelErrors | Diagnosis
    if verb in ("evaluate", "score"):
        refuse_to_replace([None if json is None else Path(json), *result_files(out)])
        result = _evaluation(shards)
    elif verb == "data errors":
        where = _data_of(shards, data)
        parts = [loaded(lambda folder: LabelErrors.load(folder / REVIEW, where), folder) for folder in shards]
        result = parts[0].merge(*parts[1:])
        _check_number(len(result.images), shards)
        if out is not None:
            protect_data(result.data, [result.mask_dir, "."], [Path(out) / name for name in (REVIEW, PAGE)])
            refuse_reviewed(out)
    elif verb == "data doctor":
        result = _diagnosis(shards, data)
    elif verb == "predict":
        done = merge_shared(shards, None if out is None else Path(out))
        if json is not None:
            write_json(Path(json), done)
        return done
    else:
        raise InputError(f"results of '{verb}' in {next(iter(shards))} cannot be merged by this version of vocseg")
    if out is not None:
        result.save(out)
    if json is not None:
        write_json(Path(json), result.to_dict())
    return result


def _evaluation(shards: Shards) -> Evaluation:
    parts = [loaded(Evaluation.load, folder) for folder in shards]
    scored = [part for part in parts if part.images] or parts[:1]  # an empty shard has no counts
    result = scored[0].merge(*scored[1:])
    _check_number(result.images, shards)
    check_labels_of_split([row.true_pixels for row in result.scores.per_class], [*result.per_class], result.split)
    return result


def _diagnosis(shards: Shards, data: str | Path | None) -> Diagnosis:
    start = time.perf_counter()
    first, manifest = next(iter(shards.items()))
    asked = manifest.settings
    found = survey(_data_of(shards, data), asked["mask_dir"], asked["asked splits"])
    keys = found.keys()
    if digest(sorted(map("/".join, keys))) != manifest.listed or [split.name for split in found.splits] != asked["splits"]:
        raise InputError(f"{found.root} has other images or lists than when {first} was made: run all shards again")
    images: dict[str, ImageFacts] = {}
    masks: dict[MaskKey, MaskFacts] = {}
    damaged: list[str] = []
    for folder in shards:
        more_images, more_masks, more_damaged = loaded(lambda folder: facts.load(folder, found), folder)
        images |= more_images
        masks |= more_masks
        damaged += more_damaged
    _check_number(len(masks), shards)
    names = dict.fromkeys(name for _, name in keys)
    in_order = {name: images[name] for name in names}, {key: masks[key] for key in keys}, sorted(damaged)
    return diagnose(found, find_legend(found.root, found.classes), in_order, start)


def _data_of(shards: Shards, data: str | Path | None) -> str | Path:
    """Return where the data set is: ``data``, or where it was; InputError if it is there no longer."""
    first, manifest = next(iter(shards.items()))
    if data is None and not is_remote(manifest.data) and not Path(manifest.data).exists():
        raise InputError(f"the data set of {first} is no longer at {manifest.data}: name its folder with --data")
    return manifest.data if data is None else data


def _check_number(images: int, shards: Shards) -> None:
    first, manifest = next(iter(shards.items()))
    if images != manifest.images:
        raise InputError(f"the shards beside {first} have {images} of {manifest.images} images: run all shards again")
