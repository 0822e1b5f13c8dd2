"""``vocseg evaluate``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from vocseg.cli.options import Actors, Flag, JsonOutput, Network, Output, RayAddress, Results, ShardOf, Truth, check_network
from vocseg.cli.sharded import check_conventions, find_shard, ray_cluster, run_sharded


def evaluate(
    model: str,
    *,
    truth: Truth = Truth(),
    match_classes: Flag = False,
    save_masks: Output | None = None,
    network: Network = Network(),
    fit_temperature: Path | None = None,
    conventions: Flag = False,
    shard: ShardOf = None,
    ray: RayAddress = None,
    actors: Actors = None,
    out: Results = None,
    json: JsonOutput = None,
) -> None:
    """Score a model on a split.

    One confusion matrix over all images at their own size, without void pixels, as in the VOC devkit. Also boundary
    IoU, mIoU near boundaries, recall by size, and the calibration of the probabilities.

    ```
    vocseg evaluate runs/deeplabv3_resnet101/best.safetensors --data data
    vocseg evaluate lraspp_mobilenet_v3_large --data data --save-masks masks --json scores.json
    vocseg evaluate best.safetensors --split calibration --fit-temperature calibrated.safetensors
    vocseg evaluate best.safetensors --out results --shard 1/8
    vocseg evaluate s3://bucket/best.safetensors --data s3://bucket/shards --out s3://bucket/results
    vocseg evaluate best.safetensors --out results --ray 10.0.0.5:6379
    ```

    Args:
        model: Model file, its URL, or name.
        match_classes: Score the classes that model and data both name, if the model has others too.
        save_masks: Write the predicted masks to this folder, as palette PNGs named by id.
        fit_temperature: Write the model to this new file with the temperature that fits its probabilities to the split.
        conventions: Also print the mIoU as other tools compute it, to compare with their numbers.
    """
    check_network(network, model)  # fail before torch is imported
    truth.check()
    part = find_shard(shard, out)
    check_conventions(conventions, part)
    from vocseg.cli.console import log_to_terminal, say_written, terminal
    from vocseg.evaluation.evaluate import evaluate as run
    from vocseg.evaluation.table import conventions_report, evaluation_report

    log_to_terminal()
    cluster = ray_cluster(ray, actors)
    result = run_sharded(
        lambda device, file: run(
            model, match_classes=match_classes, save_masks=save_masks, out=out, json=file, fit_temperature=fit_temperature,
            shard=part and str(part), cluster=cluster, title=f"evaluate {truth.split}", **asdict(truth),
            **asdict(network) | {"device": device},
        ),
        lambda result: result.images, shard, out, network.device, json,
    )  # fmt: skip
    if result is None:
        return
    terminal().print(evaluation_report(result), crop=False)
    if conventions:
        terminal().print(conventions_report(result), crop=False)
    say_written(out, save_masks, fit_temperature, json)
