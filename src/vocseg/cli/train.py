"""``vocseg train``."""

from __future__ import annotations

import itertools
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Group, Parameter
from cyclopts.argument import ArgumentCollection
from cyclopts.config import Dict

from vocseg.cli.console import log_to_terminal, say
from vocseg.cli.hints import check_numbers
from vocseg.cli.options import Flag, Json, Output
from vocseg.data.layout import VocFolder, protect_data
from vocseg.errors import InputError, OutputError, SettingError, shown
from vocseg.training.config import GROUPS, TrainConfig, find_recipe, load_config, read_config
from vocseg.utils.files import write_json
from vocseg.utils.stand_ins import fetched
from vocseg.utils.urls import below

if TYPE_CHECKING:
    from vocseg.training.run_folder import RunFolder


def _settings_from_file(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Take settings that are not on the command line from the TOML file of ``--config`` or the run of ``--resume``."""
    given = {argument.name: [token.value for token in argument.tokens] for argument in arguments if argument.tokens}
    for other in ("--config", "--out"):
        if "--resume" in given and other in given:
            raise SettingError(f"--resume takes settings and folder from the run and cannot be combined with {other}")
    if "--json" in given and "--dry-run" in given:
        raise SettingError("--dry-run has no results to write with --json")
    if "--resume" in given:
        path = fetched(below(given["--resume"][0], "config.toml"))
        if not path.is_file():
            raise InputError(f"cannot resume {path.parent}: not a run folder (no config.toml)")
    elif "--config" in given:
        path = find_recipe(given["--config"][0])
    else:
        return
    values = read_config(path)
    over = {name.removeprefix("--").replace("-", "_") for name in given}
    if over & {"epochs", "iterations"}:  # the file's other one could override it
        over |= {"epochs", "iterations"}
    values = {name: value for name, value in values.items() if name not in over}
    # Below the verb's key: at the top, cyclopts would take the setting `data` for the verb `data` and drop it.
    for command in reversed(commands):
        values = {command: values}
    Dict(values, source=str(path))(app, commands, arguments)


_GROUPS = {name: Group(name.capitalize(), sort_key=number) for number, name in enumerate(GROUPS, 1)}
_FIELDS = {field.name: field for field in fields(TrainConfig)}


class _TrainApp(App):
    """Shows the settings in the groups that the fields of TrainConfig name."""

    def assemble_argument_collection(
        self, *, default_parameter: Parameter | None = None, parse_docstring: bool = False
    ) -> ArgumentCollection:
        arguments = super().assemble_argument_collection(default_parameter=default_parameter, parse_docstring=parse_docstring)
        for argument in arguments:
            if argument.field_info.name in _FIELDS:
                group = _GROUPS[_FIELDS[argument.field_info.name].metadata["group"]]
                argument.parameter = Parameter.combine(argument.parameter, Parameter(group=group))
        return arguments


train_app = _TrainApp(name="train", help_format="markdown", config=(check_numbers, _settings_from_file))


@train_app.default
def train(
    *,
    settings: Annotated[TrainConfig, Parameter(name="*")] = TrainConfig(),
    config: str | None = None,
    resume: Output | None = None,
    download: Flag = False,
    dry_run: Flag = False,
    json: Json = None,
) -> None:
    """Train a model, or resume a run.

    The model is validated after each epoch; the best one so far is saved.

    ```
    vocseg train --data data --config original
    vocseg train --data data --split trainaug --mask-dir SegmentationClassAug --model unet:resnet34 --epochs 50
    vocseg train --resume runs/deeplabv3_resnet101
    vocseg train --data s3://bucket/shards --out s3://bucket/run
    ```

    The run folder contains config.toml, environment.json, metrics.jsonl, steps.csv, log.txt, best.safetensors, last/
    and, at the end, curves.png and report.md.

    Args:
        config: TOML file of settings, or the name of a recipe (default, finetune, ...). Options on the command line
            override it.
        resume: Run folder to resume, or its URL, with its settings.
        download: Download VOC2012 to `--data` first if it is not there, as `vocseg data download` does.
        dry_run: Print the plan, with time and memory estimated from three steps, and exit. Missing soft labels are
            still computed.
    """
    log_to_terminal()
    if download and not dry_run:
        from vocseg.download.voc import download_if_missing

        download_if_missing(Path(settings.data))
    _protect(settings, config, resume, [json])  # fail before torch is imported
    from vocseg.cli.signals import StopSignals
    from vocseg.training.api import train as run_training
    from vocseg.training.run_folder import RunFolder

    folder = resume or settings.out
    if json is not None and folder and json.absolute() in [path.absolute() for path in RunFolder(folder).files]:
        raise OutputError(f"cannot write {json}: it is a file of the run; choose another name")
    if dry_run:
        _dry_run(settings)
        return
    with StopSignals() as signals:
        result = run_training(config=settings, resume=resume, should_stop=lambda: signals.received)
    if json is not None:
        write_json(json, _results(result.run))


def _protect(settings: TrainConfig, config: str | None, resume: str | Path | None, outputs: list[Path | None]) -> None:
    """Raise OutputError if an output would replace what the training reads, DataError if there is no data set."""
    read = [config, settings.model, settings.weights, settings.teacher]
    below = [(name, "*") for name in (settings.unlabeled, settings.soft_labels) if name]
    below += [(str(resume), pattern) for pattern in ("config.toml", "last/*") if resume]
    files = (file for folder, pattern in below for file in Path(folder).glob(pattern))
    protect_data(settings.data, [settings.mask_dir], outputs, itertools.chain(read, files))
    VocFolder.find(settings.data, settings.mask_dir).lines(settings.split)


def _dry_run(settings: TrainConfig) -> None:
    from vocseg.training.dry_run import dry_run
    from vocseg.training.setup import prepare

    setup = prepare(settings)
    plan = dry_run(setup)
    say(*setup.config.to_toml().splitlines(), "", *plan, "", "no run folder was made")


def _results(run: RunFolder) -> dict[str, Any]:
    return {"run": shown(run.root), "settings": asdict(load_config(run.config)), "epochs": run.read_metrics()}
