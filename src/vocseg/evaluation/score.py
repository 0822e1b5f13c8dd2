"""Score a folder of masks made by any tool."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vocseg.data.dataset import SplitDataset, size_text
from vocseg.data.image_io import check_palettes, read_mask
from vocseg.data.label_checks import check_labels_of_split
from vocseg.data.layout import VocFolder, files_by_stem, protect_data
from vocseg.errors import DataError, InputError, shown
from vocseg.evaluation.record import CountedImage, Record, count_masks
from vocseg.evaluation.result import Evaluation, result_files
from vocseg.evaluation.shards import split_manifest
from vocseg.utils.arguments import checked
from vocseg.utils.progress import progress
from vocseg.utils.shards import Shard, own_names
from vocseg.utils.staging import staged
from vocseg.utils.stand_ins import mirror
from vocseg.utils.urls import is_remote
from vocseg.voc import MASKS


@checked
@staged("out", "json")
def score(
    masks: str | Path,
    data: str | Path | SplitDataset,
    split: str = "val",
    *,
    mask_dir: str = MASKS,
    out: str | Path | None = None,
    shard: str | None = None,
    json: str | Path | None = None,
    title: str | None = None,
) -> Evaluation:
    """Score the mask PNGs ``<id>.png`` of a folder against the ground truth of a split, as the VOC devkit does.

    ``masks`` holds palette or gray PNGs of their images' sizes, whose values are class ids. ``data``: a folder in VOC
    layout, of which ``split`` and ``mask_dir`` are read, or a data set made of one. ``out``: a folder for the scores and
    the counts of each image; see :meth:`Evaluation.save`. ``shard``: score only share ``I/N`` of the images, as
    :func:`vocseg.evaluate` does. ``json``: a file for the scores. ``title``: shows a progress bar on a terminal.

    Raises DataError, naming the file, for a missing or unreadable mask, another size than the ground truth's, or a
    value outside the classes, for palettes that contradict each other, and for a split of one class, of which no score
    can be right; OutputError if the scores cannot be written or would replace an input.

    >>> from vocseg.data.samples import FOLDER
    >>> try:
    ...     score(FOLDER / "SegmentationClass", FOLDER, "samples")
    ... except DataError as error:  # ground truth has void pixels, which no prediction may have
    ...     print(str(error).partition(": ")[2])
    predicted value 255 is outside the classes 0..20; 255 (void) is only allowed in ground truth
    """
    start = time.perf_counter()
    masks = mirror(str(masks), lambda name: "/" not in name and name.endswith(".png")) if is_remote(masks) else Path(masks)
    part = None if shard is None else Shard.parse(shard)
    dataset = data if isinstance(data, SplitDataset) else SplitDataset(VocFolder.find(data, mask_dir), split)
    folder, split = dataset.folder, dataset.split
    if not masks.is_dir():
        raise DataError(f"no folder of masks {masks}")
    target = out if out is None or part is None else part.folder(out)
    protect_data(folder.root, [folder.mask_dir], [None if json is None else Path(json), *result_files(target)], masks.glob("*"))
    names = sorted(own_names(part, dataset.names))
    files, classes = files_by_stem(masks, (".png",)), folder.classes
    if missing := [name for name in names if name not in files]:
        raise DataError(
            f"{masks} has no mask for {len(missing)} of the {len(names)} images of {split}; the first: {missing[0]}.png"
        )

    def count(name: str) -> CountedImage:
        target, prediction = read_mask(folder.mask(name), len(classes)), read_mask(files[name])
        if prediction.shape != target.shape:
            described = f"{size_text(prediction)}, its ground truth {folder.mask(name)} {size_text(target)}"
            raise DataError(f"mask {files[name]} is {described}")
        try:
            return count_masks(name, prediction, target, len(classes))
        except InputError as error:
            raise DataError(f"mask {files[name]}: {error}") from error

    def scored() -> Evaluation:
        check_palettes(map(folder.mask, names))
        check_palettes(files[name] for name in names)
        with ThreadPoolExecutor() as pool:
            record = Record.of(classes, list(progress(pool.map(count, names), len(names), title)))
        about = {"masks": shown(masks), "data": shown(folder.root)}
        return Evaluation.from_record(record, split, about, time.perf_counter() - start)

    if part is None:
        result = scored()
        check_labels_of_split([row.true_pixels for row in result.scores.per_class], classes, split)
        result.save_all(out, None)
    else:
        manifest = split_manifest("score", part, dataset, names, {}, (files[name] for name in names))
        result = manifest.once(out, Evaluation.load, scored, Evaluation.save)
    result.save_all(None, json)
    return result
