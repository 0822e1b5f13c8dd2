"""The command line: ``vocseg VERB ...``. Modules of verbs import torch only when they run: help must be quick."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback

from cyclopts import App, CycloptsError

from vocseg import __version__
from vocseg.cli.bench import bench
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
from vocseg.errors import VocsegError

app = App(
    name="vocseg",
    version=__version__,
    help="""Semantic segmentation on Pascal VOC 2012, and on any data laid out like it.

Masks at once:            vocseg predict photo.jpg
All of it in a minute:    vocseg demo
Train on made-up data:    vocseg data synth demo/data
                          vocseg train --data demo/data --config synthetic
or on VOC itself:         vocseg train --data FOLDER_WITH_VOCdevkit

--debug shows tracebacks.""",
    help_format="plaintext",
)
app.command(train_app)
for verb in (predict, evaluate, score, demo, models, export, bench):
    app.command(verb, help_format="markdown")
data = App(name="data", help="Get, make, check and describe data sets in VOC layout.")
data.command(download, help_format="markdown")
data.command(synth, help_format="markdown")
data.command(doctor, help_format="markdown")
data.command(stats, help_format="markdown")
data.command(show, help_format="markdown")
data.command(convert, help_format="markdown")
app.command(data)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0, 2 for bad input or use, 1 for a failure, 128 + its number after a signal.

    Errors are one line on standard error; with ``--debug`` a traceback comes before it.
    """
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in tokens
    tokens = [token for token in tokens if token != "--debug"]
    _clean_up_when_terminated()
    _let_threads_rest()
    try:
        app(tokens, exit_on_error=False, print_error=False)
    except (VocsegError, CycloptsError) as error:
        _fail(str(error), error.exit_code if isinstance(error, VocsegError) else 2, debug)
    except KeyboardInterrupt:
        _fail("interrupted", 130, debug)
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(1) from None
    except Exception as error:
        _fail(f"{type(error).__name__}: {error} (--debug shows where)", 1, debug)


def _let_threads_rest() -> None:
    """Have OpenMP's idle threads, torch's, sleep sooner: for milliseconds they spin where OpenVINO's, or others', have work.

    To be called before torch is imported; what the environment says already stands.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "2000"


def _clean_up_when_terminated() -> None:
    """Make SIGTERM end a verb as Ctrl-C does, so that nothing half-written stays."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, interrupt)


def _fail(message: str, code: int, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    print("vocseg: error: " + " ".join(message.split()), file=sys.stderr)
    raise SystemExit(code) from None
