"""``vocseg data errors``."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from vocseg.cli.options import DataFolder, Json, Network, Positive, ShardOf, check_network
from vocseg.cli.sharded import find_shard, run_sharded
from vocseg.data.layout import VocFolder, protect_data
from vocseg.errors import SettingError
from vocseg.utils.urls import is_remote
from vocseg.voc import MASKS

if TYPE_CHECKING:
    from vocseg.evaluation.label_result import LabelErrors

Share = Annotated[float, Parameter(validator=Number(gte=0, lte=1))]


def errors(
    data: DataFolder,
    /,
    *,
    model: Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())] = None,
    split: str = "train",
    mask_dir: str = MASKS,
    folds: Annotated[int | None, Parameter(validator=Number(gte=2))] = None,
    config: str | None = None,
    rank: Literal["region", "softmin"] = "region",
    min_area: Share = 0.002,
    limit: Positive = 200,
    out: Path = Path("errors"),
    shard: ShardOf = None,
    review: Path | None = None,
    suggest: Path | None = None,
    to: Literal["labelme", "coco", "voc"] = "labelme",
    network: Network = Network(),
    json: Json = None,
) -> None:
    """Find images and objects that are probably labeled wrong.

    Ranks images by the probability that a model gives to their labels, and lists objects that are predicted but not
    labeled, labeled but not predicted, or of another class. Writes a page with crops, `index.html`, and `review.json`.

    ```
    vocseg data errors data --model runs/deeplabv3_resnet101/best.safetensors --split val --out errors
    vocseg data errors data --folds 5 --config finetune --out errors
    vocseg data errors data --model best.safetensors --out errors --shard 1/8
    vocseg data errors data --review errors/review.json --suggest fixes
    vocseg data convert data corrected --corrections fixes
    ```

    A model knows too well the labels that it was trained on. The first line says for how many images that is so. `--folds`
    trains models that each hold out a part of the split, and scores each image by the one that was not trained on it.

    Args:
        model: Model files or names; each image is scored by the first that was not trained on it. With `--folds`: the model
            to train. Default: vocseg-s, or with `--folds` the recipe's.
        split: Split list in ImageSets/Segmentation.
        mask_dir: Folder of the masks in the data set, e.g. SegmentationClassAug.
        folds: Train this many models first, into OUT/folds, which takes as many times as long as one.
        config: Recipe or TOML file of settings for `--folds`.
        rank: region: by the lowest mean probability in a window. softmin: of single pixels (Lad and Mueller 2023).
        min_area: Smallest object that is listed, as a share of its image.
        limit: Objects of each kind that are kept, the most doubtful.
        out: Folder for the page and `review.json`.
        review: Use this `review.json` instead of a model. Objects with `"accept": false` are left out.
        suggest: Write the images of the objects to this new folder, with labels as the model suggests them, to correct.
        to: Format of `--suggest`.
    """
    outputs = [] if review else [out / "review.json", out / "index.html"]
    protect_data(data, [mask_dir, "."], [json, *outputs], [review, *(model or [])])  # fail before torch is imported
    models = model or []
    _check_use(models, folds, config, review)
    if review is None:
        VocFolder.find(data, mask_dir).lines(split)
    check_network(network, *models)
    part = find_shard(shard, out)
    if part is not None and (folds is not None or review is not None or suggest is not None):
        raise SettingError("--shard takes no --folds, --review or --suggest: train and suggest once, with all images")
    from vocseg.cli.console import log_to_terminal, say
    from vocseg.evaluation.label_errors import find_label_errors
    from vocseg.evaluation.label_result import LabelErrors, refuse_reviewed
    from vocseg.utils.files import write_json
    from vocseg.utils.text import counted

    log_to_terminal()
    if folds is not None:
        from vocseg.training.folds import train_folds

        refuse_reviewed(out)  # before hours of training
        trained = train_folds(data, *models, out=out / "folds", folds=folds, split=split, mask_dir=mask_dir, config=config)
        models = [*map(str, trained)]
    if review is not None:
        result = LabelErrors.load(review, data)
        if json is not None:
            write_json(json, result.to_dict())
    else:

        def find(device: Any, file: Path | None) -> LabelErrors:
            result = find_label_errors(
                data, models or ["vocseg-s"], split, mask_dir=mask_dir, rank=rank, min_area=min_area, limit=limit, out=out,
                shard=part and str(part), title="errors", **asdict(network) | {"device": device},
            )  # fmt: skip
            if file is not None:
                write_json(file, result.to_dict())
            return result

        found = run_sharded(find, lambda result: len(result.images), shard, out, network.device, json)
        if found is None:
            return
        result = found
    say_errors(result)
    if review is None:
        say(f"written: {out / 'index.html'}, {out / 'review.json'}")
    if suggest is not None:
        say(f"written: {suggest}, {counted(len(result.suggest(suggest, to)), 'image')} to correct")
        source = shlex.quote(data)
        if VocFolder.find(data, mask_dir).packed is not None:
            say(f"then: vocseg data unpack {source} --out COPY")
            source = "COPY"
        elif is_remote(data):
            say(f"then: copy {data} to a folder COPY on a disk")
            source = "COPY"
        say(f"then: vocseg data convert {source} NEW --corrections {shlex.quote(str(suggest))}")


def say_errors(result: LabelErrors) -> None:
    """Say what was found."""
    from vocseg.cli.console import say
    from vocseg.evaluation.label_components import KINDS

    say(f"probabilities {result.sample_note}")
    say(*(f"{text}: {result.found[kind]:,}" for kind, text in KINDS.items()))
    say("most doubtful images: " + ", ".join(row.id for row in result.images[:5] if row.region is not None))


def _check_use(models: list[str], folds: int | None, config: str | None, review: Path | None) -> None:
    if review is not None and (models or folds):
        raise SettingError("--review takes what an earlier call found; give no --model and no --folds")
    if folds is None and config is not None:
        raise SettingError("--config is for --folds")
    if folds is not None and len(models) > 1:
        raise SettingError("--folds trains one model; give one --model, or none")
