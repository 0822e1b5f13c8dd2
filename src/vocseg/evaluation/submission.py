"""Make the archive of masks that VOC's test server takes, from a model or from masks that were made before."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vocseg import draw, voc
from vocseg.data.dataset import size_text
from vocseg.data.image_io import check_palettes, image_size, read_mask
from vocseg.data.label_checks import check_labels_of_split
from vocseg.data.layout import VocFolder, files_by_stem, protect_data
from vocseg.errors import DataError, ModelError, OutputError, SettingError
from vocseg.evaluation.record import CountedImage, Record, count_masks
from vocseg.evaluation.result import Evaluation
from vocseg.evaluation.submission_check import FOLDER, examine
from vocseg.inference.augment import Augmentation
from vocseg.inference.engines import EngineName
from vocseg.inference.segmenter import Segmenter, as_segmenter
from vocseg.models import ModelInfo
from vocseg.utils.arguments import checked
from vocseg.utils.files import replacing, write_json
from vocseg.utils.progress import progress
from vocseg.utils.tar import write_tar_gz
from vocseg.utils.text import counted, portable

Task = Literal["comp5", "comp6"]
_VOC_ONLY = re.compile(rf"VOC20\d\d \S+ \(\d+ (images|pictures), masks {voc.MASKS}\)")
"""What a model's metadata say if it was trained on VOC's own data: a split, with VOC's own masks."""


@dataclass(frozen=True)
class Submission:
    """The archive that was written. ``scores``: of the archive's own masks, if the split has ground truth to rehearse on.

    >>> Submission(Path("comp6_test_cls.tar.gz"), "comp6", "test", 1456, "best.safetensors")
    Submission(comp6_test_cls.tar.gz: 1,456 masks of test, comp6)
    """

    file: Path
    task: Task
    split: str
    images: int
    source: str
    scores: Evaluation | None = None

    def __repr__(self) -> str:
        return f"Submission({self.file.name}: {counted(self.images, 'mask')} of {self.split}, {self.task})"

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        values = {"file": portable(self.file), "task": self.task, "split": self.split, "images": self.images}
        return values | {"source": portable(self.source)} | ({} if self.scores is None else {"scores": self.scores.to_dict()})


@checked
def submit(
    source: str | Path | nn.Module | Segmenter,
    data: str | Path,
    out: str | Path | None = None,
    *,
    split: str | None = None,
    on: str | None = None,
    task: Task = "comp6",
    weights: str | None = None,
    device: str | torch.device = "auto",
    precision: str | torch.dtype = "auto",
    engine: EngineName = "auto",
    exact: bool = False,
    max_short_side: int | None = None,
    tta: Augmentation = "none",
    batch_size: int | None = None,
    json: str | Path | None = None,
    title: str | None = None,
) -> Submission:
    """Write the archive of masks that VOC's test server takes; equal masks give an equal file, byte for byte.

    ``source``: a model, as for :func:`vocseg.evaluate`, which predicts the images; or a folder of masks ``<id>.png``,
    palette or gray, of the images' sizes. ``data``: a folder in VOC layout with the images of ``split`` (by default
    ``test``); it needs no masks. ``on``: rehearse on a split with ground truth instead; its archive is read back and
    scored. ``out``: by default ``<task>_<split>_cls.tar.gz``. ``task``: ``comp5`` is for what was trained on VOC's own
    data only, ``comp6`` for all else. ``json``: a file for what was written, and the scores. ``title``: shows a progress
    bar on a terminal.

    The archive is examined as :func:`vocseg.check_submission` does before it appears. Raises ModelError for a model that
    has other classes than VOC, or for comp5 was not, as far as its file says, trained on VOC's own data only; DataError,
    naming the file, for masks that the server would not take; OutputError if the archive cannot be written.

    >>> import tempfile, vocseg
    >>> from vocseg.data.samples import FOLDER
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     submit("vocseg-s", FOLDER, f"{folder}/masks.tar.gz", on="samples", device="cpu")
    Submission(masks.tar.gz: 4 masks of samples, comp6)
    """
    if on is not None and split is not None:
        raise SettingError(f"split '{split}' is for a submission, on '{on}' for a rehearsal; give one of the two")
    split = on or split or "test"
    folder = VocFolder.find(data, masks=on is not None)
    names = sorted(folder.ids(split, masks=on is not None))
    out = Path(f"{task}_{split}_cls.tar.gz" if out is None else out)
    if not out.name.lower().endswith((".tar.gz", ".tgz")):  # it may be a mask
        raise OutputError(f"cannot write {out}: an archive ends in .tar.gz")
    masks = Path(source) if isinstance(source, str | Path) and Path(source).is_dir() else None
    named = str(source) if isinstance(source, str | Path) else None
    inputs = [named, weights] if masks is None else masks.glob("*")
    protect_data(folder.root, [folder.mask_dir], [out, None if json is None else Path(json)], inputs)
    if masks is not None:
        predictions = _read(masks, folder, names, split)
    else:
        options = {"weights": weights, "device": device, "precision": precision, "engine": engine, "exact": exact}
        classes = voc.CLASSES if isinstance(source, nn.Module) else None
        segmenter = as_segmenter(cast(Any, source), classes=classes, max_short_side=max_short_side, tta=tta, **options)
        _check_model(segmenter.info, task)
        named = named or segmenter.info.architecture
        predictions = _predicted(segmenter, [folder.image(name) for name in names], batch_size)
    start = time.perf_counter()
    with replacing(out) as temporary:
        with open(temporary, "wb") as file:
            write_tar_gz(file, _entries(progress(zip(names, predictions, strict=True), len(names), title), task))
        record = _checked(temporary, folder, split, scored=on is not None)
    scores = None
    if record is not None:
        about = {"masks" if masks is not None else "model": str(named), "data": str(folder.root)}
        scores = Evaluation.from_record(record, split, about, time.perf_counter() - start)
        check_labels_of_split([row.true_pixels for row in scores.scores.per_class], voc.CLASSES, split)
    result = Submission(out, task, split, len(names), str(named), scores)
    if json is not None:
        write_json(Path(json), result.to_dict())
    return result


def _check_model(info: ModelInfo, task: Task) -> None:
    info.check_classes(voc.CLASSES, "VOC")
    if task == "comp5" and not _VOC_ONLY.fullmatch(info.trained_on or ""):
        said = f"was trained on {info.trained_on}" if info.trained_on else "does not say what it was trained on"
        raise ModelError(f"comp5 is for models trained on VOC's own images and masks only; {info.architecture} {said}: use comp6")


def _read(masks: Path, folder: VocFolder, names: list[str], split: str) -> Iterator[Tensor]:
    """Yield masks of a folder; DataError for one that the server would not take."""
    files = files_by_stem(masks, (".png",))
    if missing := [name for name in names if name not in files]:
        raise DataError(
            f"{masks} has no mask for {len(missing)} of the {len(names)} images of {split}; the first: {missing[0]}.png"
        )
    check_palettes(files[name] for name in names)

    def read(name: str) -> Tensor:
        mask, size = read_mask(files[name]), image_size(folder.image(name))
        if mask.shape != size:
            raise DataError(f"mask {files[name]} is {size_text(mask)}, its image {folder.image(name)} {size[0]}x{size[1]}")
        if int(mask.max()) >= len(voc.CLASSES):
            raise DataError(f"mask {files[name]} holds {int(mask.max())}; VOC's classes are 0 to {len(voc.CLASSES) - 1}")
        return mask

    return map(read, names)


def _predicted(segmenter: Segmenter, images: list[Path], batch_size: int | None) -> Iterator[Tensor]:
    with closing(segmenter.stream(images, batch_size=batch_size)) as stream:
        for result in stream:
            yield result.mask


def _entries(masks: Iterable[tuple[str, Tensor]], task: Task) -> Iterator[tuple[str, bytes]]:
    for name, mask in masks:
        yield f"{FOLDER.format(task=task)}/{name}.png", draw.encoded(draw.palette_image(mask))


def _checked(archive: Path, folder: VocFolder, split: str, scored: bool) -> Record | None:
    """Examine a written archive, and count its masks against the ground truth if they are to be scored."""
    rows: list[CountedImage] = []

    def count(name: str, labels: NDArray[Any]) -> None:
        target = read_mask(folder.mask(name), len(voc.CLASSES))
        rows.append(count_masks(name, torch.from_numpy(labels), target, len(voc.CLASSES)))

    check = examine(archive, folder, split, count if scored else None)
    if not check.ok:
        raise DataError(f"the archive is not fit to be submitted: {check.lines()[0]}")
    return Record.of(voc.CLASSES, rows) if scored else None
