from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image

from vocseg.cli.main import app
from vocseg.errors import SettingError
from vocseg.training.config import GROUPS, TrainConfig

VERBS = [
    *((verb,) for verb in ("train", "evaluate", "score", "submit", "predict", "models", "export", "bench", "serve")),
    *(("data", verb) for verb in ("download", "synth", "doctor", "convert", "stats", "show", "errors")),
]
Run = Callable[..., tuple[int, str, str]]


def test_top_level_help_names_every_verb(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert all(f"\n│ {verb[0]} " in out for verb in VERBS)
    assert "networks; repeatable\n" in out  # within 80 columns
    assert "`" not in out + run("data", "--help")[1]  # markup is for the verbs' own pages


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_has_an_example(run: Run, verb: tuple[str, ...]) -> None:
    code, out, _ = run(*verb, "--help")
    assert code == 0
    assert f" vocseg {' '.join(verb)} " in out.replace("Usage: vocseg", "")


def test_settings_are_shown_in_groups(run: Run) -> None:
    code, out, _ = run("train", "--help")
    assert code == 0
    panels = {text.split(" ", 1)[0]: text for text in out.split("╭─ ")[1:]}
    assert list(panels)[1:] == [group.capitalize() for group in GROUPS]
    for field in fields(TrainConfig):
        assert f"│ --{field.name.replace('_', '-')} " in panels[field.metadata["group"].capitalize()]


def test_weights_are_named_alike(run: Run) -> None:
    for verb in ("train", "predict", "export"):
        assert "coco, voc, backbone, none (see vocseg models)" in " ".join(run(verb, "--help")[1].replace("│", " ").split())


def test_help_does_not_import_torch() -> None:
    code = "import sys; from vocseg.cli.main import app; app(['--help'], exit_on_error=False); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_the_network_in_the_box_imports_torch_alone(tmp_path: Path) -> None:
    """torchvision, timm and torch's compiler take seconds to import, longer than the image."""
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    code = (
        "import sys; from vocseg.cli.main import app\n"
        "try: app(['predict', 'a.png'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'torchvision', 'timm', 'torch._dynamo', 'sympy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['torch']"
    assert (tmp_path / "predictions" / "a.png").is_file()


def test_version(run: Run) -> None:
    import vocseg

    assert run("--version")[1].strip() == vocseg.__version__


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "Unknown command"),
        (["train", "--bach-size", "2"], "Unknown option: --bach-size. Did you mean --batch-size?"),
        (["train", "--batch-size", "two"], "--batch-size"),
        (["train", "--augment", "none"], "--augment"),
        (["evaluate"], "vocseg evaluate needs MODEL; see `vocseg evaluate --help`"),
        (["report", "a", "b", "c", "d"], "vocseg report takes no further c d; see `vocseg report --help`"),
        (["data", "stats", "a", "b"], "vocseg data stats takes no further b; see `vocseg data stats --help`"),
        (["data", "convert", "a", "b", "--images"], "--images needs a value; see `vocseg data convert --help`"),
        (["predict"], "IMAGES"),
        (
            ["doctor", "data"],
            "Commands: data, train, predict, evaluate, score, merge, compare, report, submit, demo, models, export, bench, serve.",
        ),
        (["data", "docter"], "Did you mean doctor?"),
        (["predict", "a.jpg", "--device", "gpu"], "Did you mean cuda?"),
        (["predict", "a.jpg", "--precision", "fp16"], "Did you mean float16?"),
        (["predict", "a.jpg", "--hlep"], "Did you mean --help?"),
        (["predict", "a.jpg", "--debug=1"], "--debug"),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(run: Run, arguments: list[str], message: str) -> None:
    code, _, err = run(*arguments)
    assert code == 2
    assert err.startswith("vocseg: error: ")
    assert err.count("\n") == 1
    assert message in err


def test_fractions_are_no_integers_and_nan_is_no_number() -> None:
    """cyclopts rounds them."""
    checked = 0
    for verb in VERBS:
        parser = app
        for name in verb:
            parser = parser[name]
        for argument in parser.assemble_argument_collection():
            kinds = {argument.hint, *get_args(argument.hint)}
            value = "1.5" if int in kinds and float not in kinds else "nan" if float in kinds else None
            if value is None or argument.parameter.converter is not None or not argument.name.startswith("--"):
                continue
            with pytest.raises(SettingError, match=f'"{value}" for {argument.name}. It must be'):
                app([*verb, argument.name, value], exit_on_error=False, print_error=False)
            checked += 1
    assert checked > 40


@pytest.mark.parametrize("option", ["--nosuch", "--nosuch=3", "--x", "--outputs-of-all"])
def test_a_hint_only_if_a_name_is_near(run: Run, option: str) -> None:
    code, _, err = run("predict", "a.jpg", option)
    assert (code, err) == (2, f"vocseg: error: Unknown option: {option}.\n")


@pytest.mark.parametrize(("verb", "usage"), [("predict", "IMAGES..."), ("models", "[PATTERN]"), ("data show", "DATA [IDS...]")])
def test_usage_says_how_many(run: Run, verb: str, usage: str) -> None:
    assert run(*verb.split(), "--help")[1].splitlines()[0] == f"Usage: vocseg {verb} [OPTIONS] {usage}"


def test_debug_shows_the_traceback(run: Run) -> None:
    code, _, err = run("score", "masks", "--data", "/nowhere", "--debug")
    assert code == 2
    assert err.startswith("Traceback")
    assert err.splitlines()[-1].startswith("vocseg: error: ")


@pytest.mark.parametrize(
    ("given", "wanted"), [({}, "2000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")]
)
def test_threads_rest_unless_the_environment_says_otherwise(given: dict[str, str], wanted: str) -> None:
    code = (
        "import atexit, os; from vocseg.cli.main import main; "
        "atexit.register(lambda: print(os.environ.get('GOMP_SPINCOUNT'))); main(['--version'])"
    )
    outer = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=outer | given)
    assert done.stdout.split()[-1] == wanted
