"""``vocseg train``."""

from __future__ import annotations

import itertools
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter, Token
from cyclopts.argument import ArgumentCollection
from cyclopts.config import Dict

from vocseg.cli.console import log_to_terminal
from vocseg.cli.options import JsonOption
from vocseg.data.layout import protect_data
from vocseg.errors import InputError, SettingError
from vocseg.training.config import Changes, Settings, find_recipe, load_settings, read_settings, settings_of_stages
from vocseg.utils.files import write_json

if TYPE_CHECKING:
    from vocseg.training.run_folder import RunFolder


def _settings_from_file(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Let the TOML file of ``--config``, or the run of ``--resume``, fill in what the command line leaves out."""
    given = {argument.name: [token.value for token in argument.tokens] for argument in arguments if argument.tokens}
    if "--stages" in given:
        raise SettingError("stages are taken from the file of --config alone, as [[stages]]")
    for other in ("--config", "--out"):
        if "--resume" in given and other in given:
            raise SettingError(f"--resume takes settings and folder from the run; it does not go with {other}")
    if "--json" in given and "--dry-run" in given and "--find-lr" not in given:
        raise SettingError("--dry-run has no results for --json")
    if "--resume" in given:
        path = Path(given["--resume"][0]) / "config.toml"
        if not path.is_file():
            raise InputError(f"cannot resume {path.parent}: it is no run folder (it has no config.toml)")
    elif "--config" in given:
        path = find_recipe(given["--config"][0])
    else:
        return
    values, stages = read_settings(path)
    over = {name.removeprefix("--").replace("-", "_") for name in given}
    if over & {"epochs", "iterations"}:  # one of the file could win over the other
        over |= {"epochs", "iterations"}
    values = {name: value for name, value in values.items() if name not in over}
    stages = [{name: value for name, value in changes.items() if name not in over} for changes in stages]
    if stages:
        next(argument for argument in arguments if argument.name == "--stages").append(
            Token(source=str(path), implicit_value=stages)
        )
    # Below the verb's key: at the top, cyclopts would take the setting `data` for the verb `data` and drop it.
    for command in reversed(commands):
        values = {command: values}
    Dict(values, source=str(path))(app, commands, arguments)


train_app = App(name="train", help_format="markdown", config=_settings_from_file)


@train_app.default
def train(
    *,
    settings: Annotated[Settings, Parameter(name="*")] = Settings(),  # noqa: B008  (frozen)
    config: str | None = None,
    resume: Path | None = None,
    download: bool = False,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    find_lr: Path | None = None,
    json: JsonOption = None,
    stages: Annotated[list[Changes] | None, Parameter(show=False)] = None,
) -> None:
    """Train a model, or go on with a run.

    After each epoch the model is scored on the validation split.

    ```
    vocseg train --data data --config original
    vocseg train --data data --split trainaug --mask-dir SegmentationClassAug --model unet:resnet34 --epochs 50
    vocseg train --resume runs/deeplabv3_resnet101
    ```

    The run folder gets config.toml, environment.json, metrics.jsonl, steps.csv, log.txt, best.safetensors and last/, and at the end
    curves.png and report.md.

    Parameters
    ----------
    config
        TOML file of settings, or a recipe's name (default, finetune, ...); options on the command line win. With `[[stages]]` it
        makes runs one after another, in folders 1, 2, ... of `--out`.
    resume
        Go on with this run folder, with its settings.
    stages
        What the stages of the TOML file set otherwise; from there alone.
    dry_run
        Print the plan, with time and memory by three measured steps, without a run folder. (Soft labels that a teacher has yet
        to give are made, as a run would.)
    find_lr
        Try learning rates from 1e-6 to 1 in 100 steps, draw the losses to this PNG file, and suggest one.
    download
        Have VOC2012 downloaded to `--data` first where it is not there, as `vocseg data download` does.
    """
    log_to_terminal()
    if download and not dry_run:
        from vocseg.download.voc import download_voc

        download_voc(Path(settings.data))
    _protect(settings, config, resume, [json, find_lr])  # what is not there is told before torch is imported
    from vocseg.training.loop import train as run_training
    from vocseg.training.run_folder import RunFolder
    from vocseg.training.stages import train_in_stages
    from vocseg.utils.system import keep_memory

    keep_memory()
    if dry_run or find_lr is not None:
        _rehearse(settings, stages or [], dry_run, find_lr, json)
        return
    resumed = RunFolder.open(resume) if resume else None
    if stages:
        runs = train_in_stages(settings, stages, resumed)
        result = {"run": str(runs[-1].root.parent), "stages": [_results(run) for run in runs]}
    else:
        result = _results(run_training(settings, resumed))
    if json is not None:
        write_json(json, result)


def _protect(settings: Settings, config: str | None, resume: Path | None, outputs: list[Path | None]) -> None:
    """Raise OutputError where an output would replace what the training reads, DataError where there is no data set."""
    read = [config, settings.model, settings.weights, settings.teacher, settings.teacher_weights]
    below = [(name, "*") for name in (settings.unlabeled, settings.soft_labels) if name]
    below += [(str(resume), pattern) for pattern in ("config.toml", "last/*") if resume]
    files = (file for folder, pattern in below for file in Path(folder).glob(pattern))
    protect_data(settings.data, [settings.mask_dir, settings.val_mask_dir], outputs, itertools.chain(read, files))


def _rehearse(settings: Settings, stages: list[Changes], dry_run: bool, find_lr: Path | None, json: Path | None) -> None:
    from vocseg.training.dry_run import dry_run as rehearse
    from vocseg.training.dry_run import find_rate, plot_rates
    from vocseg.training.setup import prepare, rate_scale
    from vocseg.training.stages import prepare_stage
    from vocseg.utils.progress import duration

    runs = settings_of_stages(settings, stages) or [settings]
    if dry_run:
        before: list[str] = []
        seconds = 0.0
        for number, each in enumerate(runs, 1):
            job = prepare_stage(number, each) if stages else prepare(each)
            resolved = job.settings.to_toml().splitlines()
            if stages:
                further = ", from the weights of the one before; what it sets otherwise:" if number > 1 else ""
                print(f"stage {number} of {len(runs)}{further}")
            told = rehearse(job)
            print("\n".join([*(line for line in resolved if line not in before), "", *told.lines, ""]))
            before, seconds = resolved, seconds + told.seconds
        if stages:
            print(f"all {len(runs)} stages: about {duration(seconds)}, without validation")
        print("no run folder was made")
    if find_lr is not None:
        search = find_rate(prepare(runs[0]))
        plot_rates(search, find_lr)
        unscaled = " --no-scale-lr" * (rate_scale(settings) != 1)
        rate = f"{search.suggestion:.2g}"
        print(f"the loss falls fastest at a learning rate of {rate} (--lr {rate}{unscaled}); drawn to {find_lr}")
        if json is not None:
            write_json(json, {"suggestion": search.suggestion, "rates": search.rates, "losses": search.losses})


def _results(run: RunFolder) -> dict[str, Any]:
    return {"run": str(run.root), "settings": asdict(load_settings(run.config)), "epochs": run.read_metrics()}
