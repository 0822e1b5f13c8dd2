"""Train models that have not seen the images that they are to judge: k-fold, for label errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from vocseg import voc
from vocseg.data.layout import VocFolder, protect_data
from vocseg.data.packed import INDEX
from vocseg.errors import DataError, SettingError
from vocseg.evaluation.sample import fold_of, fold_split
from vocseg.training.api import train
from vocseg.training.config import TrainConfig
from vocseg.utils.arguments import checked
from vocseg.utils.files import building, write_text
from vocseg.utils.stand_ins import url_of

DATA = "data"
"""Folder, beside the runs, of links to the images and masks, and of the folds' split lists."""


@checked
def train_folds(
    data: str | Path,
    model: str | Path | None = None,
    *,
    out: str | Path,
    folds: int = 5,
    split: str = "train",
    mask_dir: str = voc.MASKS,
    config: TrainConfig | str | Path | None = None,
    **settings: Any,
) -> list[Path]:
    """Train a model a fold, each on all images of a split except those that the fold holds out; return the model files.

    An image's id alone decides which fold holds it out, and each file says which fold it is of, so that
    :func:`vocseg.find_label_errors` scores every image by the model that was not trained on it. The files are those of the
    ends of the runs: held-out images are validated on, but choose nothing. ``model``, ``config`` and ``settings``: as for
    :func:`vocseg.train`. ``out``: a new folder for the runs ``fold-1``, ``fold-2``, ... Raises SettingError for fewer than
    two folds, DataError for too few images, OutputError if ``out`` is not new; else as :func:`vocseg.train`.

    >>> import tempfile
    >>> from vocseg.data.synthetic import write_synthetic
    >>> folder = Path(tempfile.mkdtemp())
    >>> counts = write_synthetic(folder / "data", train=6, val=1, size=(40, 48))
    >>> quick = {"iterations": 1, "crop": 32, "batch_size": 1, "workers": 0}
    >>> models = train_folds(folder / "data", "two_layer_net", out=folder / "folds", folds=2, **quick)
    >>> [model.relative_to(folder).as_posix() for model in models]
    ['folds/fold-1/last/model.safetensors', 'folds/fold-2/last/model.safetensors']
    """
    if folds < 2:
        raise SettingError(f"folds is {folds}; at least 2 are needed, so that each image is held out once")
    if taken := sorted({"val_split", "patience"} & settings.keys()):
        raise SettingError(f"{taken[0]} cannot be set: each fold trains on its part of the split to the end")
    folder, out = VocFolder.find(data, mask_dir), Path(out)
    if url_of(folder.root) is not None:
        raise DataError(f"folds are made of links to the images; copy {data} to a disk first")
    protect_data(data, [mask_dir], [out / DATA])
    linked = _link(folder, split, folds, out)
    models = []
    for fold in range(1, folds + 1):
        name = fold_split(split, fold, folds)
        own = {
            "split": name,
            "val_split": f"{name}-held-out",
            "mask_dir": mask_dir,
            "patience": 0,
            "out": str(out / f"fold-{fold}"),
        }
        run = train(linked, None if model is None else str(model), config=config, **cast(Any, settings | own)).run
        models.append(run.last_average if run.last_average.exists() else run.last)
    return models


def _link(folder: VocFolder, split: str, folds: int, out: Path) -> Path:
    """Make a data set of links to another's images and masks with the lists of the folds; return its folder."""
    names = folder.ids(split)
    held_out = {fold: [name for name in names if fold_of(name, folds) == fold] for fold in range(1, folds + 1)}
    if empty := [fold for fold, own in held_out.items() if not own]:
        raise DataError(f"split {split} has {len(names)} images, none of which is in fold {empty[0]} of {folds}; use fewer folds")
    with building(out / DATA) as temporary:
        root = temporary / folder.root.name
        (root / voc.SPLITS).mkdir(parents=True)
        packed = [] if folder.packed is None else [INDEX, *(shard.file for shard in folder.packed.shards)]
        for name in {voc.IMAGES, voc.MASKS, folder.mask_dir, voc.CLASSES_FILE, *packed}:
            if (folder.root / name).exists():
                (root / name).symlink_to((folder.root / name).resolve())
        write_text(root / voc.SPLITS / f"{split}.txt", "".join(f"{name}\n" for name in names))
        for fold, own in held_out.items():
            kept = [name for name in names if name not in set(own)]
            name = fold_split(split, fold, folds)
            for listed, ids in ((name, kept), (f"{name}-held-out", own)):
                write_text(root / voc.SPLITS / f"{listed}.txt", "".join(f"{one}\n" for one in ids))
    return out / DATA / folder.root.name
