"""The command line: ``vocseg VERB ...``. A verb's module imports torch only when the verb runs: help must be quick."""

from __future__ import annotations

import signal
import sys
import threading
import traceback

from cyclopts import App, CycloptsError

from vocseg import __version__
from vocseg.cli.bench import bench
from vocseg.cli.console import accept_all_characters
from vocseg.cli.data_convert import convert
from vocseg.cli.data_doctor import doctor
from vocseg.cli.data_download import download
from vocseg.cli.data_show import show
from vocseg.cli.data_stats import stats
from vocseg.cli.data_synth import synth
from vocseg.cli.demo import demo
from vocseg.cli.evaluate import evaluate
from vocseg.cli.export import export
from vocseg.cli.models import models
from vocseg.cli.predict import predict
from vocseg.cli.score import score
from vocseg.cli.train import train_app
from vocseg.errors import InputError, VocsegError
from vocseg.utils.system import tune_process
from vocseg.utils.text import visible
from vocseg.utils.user_code import import_user_code

app = App(
    name="vocseg",
    version=__version__,
    help="""Semantic segmentation on Pascal VOC 2012 and on data laid out like it.

Segment an image:          vocseg predict photo.jpg
One-minute demo:           vocseg demo
Train on synthetic data:   vocseg data synth demo/data
                           vocseg train --data demo/data --config synthetic
Train on VOC 2012:         vocseg data download data
                           vocseg train --data data
Score a model:             vocseg evaluate runs/deeplabv3_resnet101/best.safetensors --data data

With every verb:
--import FILE.py|MODULE    import your code first, e.g. networks with @vocseg.register_model; repeatable
--debug                    print the traceback of an error""",
    help_format="plaintext",
)
app.command(train_app)
for verb in (predict, evaluate, score, demo, models, export, bench):
    app.command(verb, help_format="markdown")
data = App(name="data", help="Download, convert, check and describe data sets in VOC layout.")
data.command(download, help_format="markdown")
data.command(synth, help_format="markdown")
data.command(doctor, help_format="markdown")
data.command(stats, help_format="markdown")
data.command(show, help_format="markdown")
data.command(convert, help_format="markdown")
app.command(data)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0, 2 for bad input or use, 1 for a failure, 128 + N after signal N.

    An error is one line on standard error; ``--debug`` prints its traceback first.
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in tokens
    tokens = [token for token in tokens if token != "--debug"]
    accept_all_characters()
    _clean_up_when_terminated()
    tune_process()
    try:
        tokens, targets = _split_imports(tokens)
        for target in targets:
            import_user_code(target)
        app(tokens, exit_on_error=False, print_error=False)
    except (VocsegError, CycloptsError) as error:
        _fail(str(error), error.exit_code if isinstance(error, VocsegError) else 2, debug)
    except KeyboardInterrupt as error:
        _fail(f"interrupted; {error}" if error.args else "interrupted", 130, debug)
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(1) from None
    except Exception as error:
        _fail(f"{type(error).__name__}: {error} (--debug prints the traceback)", 1, debug)


def _split_imports(tokens: list[str]) -> tuple[list[str], list[str]]:
    """Split the command line into what the verb gets and the values of ``--import``."""
    rest: list[str] = []
    targets: list[str] = []
    remaining = iter(tokens)
    for token in remaining:
        if token == "--import":
            target = next(remaining, None)
            if target is None or target.startswith("-"):
                raise InputError("--import needs a Python file or the name of a module")
            targets.append(target)
        elif token.startswith("--import="):
            targets.append(token.removeprefix("--import="))
        else:
            rest.append(token)
    return rest, targets


def _clean_up_when_terminated() -> None:
    """Make SIGTERM end a verb as Ctrl-C does, so that nothing half-written stays."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, interrupt)


def _fail(message: str, code: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print("vocseg: error: " + visible(" ".join(message.split())), file=sys.stderr)
    raise SystemExit(code) from None
