"""The command line: ``vocseg VERB ...``. A verb's module imports torch only when the verb runs: help must be quick."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import traceback
from importlib import import_module

from cyclopts import App, CycloptsError

from vocseg import __version__
from vocseg.cli.console import accept_all_characters
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
data = App(name="data", help="Download, convert, check and describe data sets in VOC layout.")
app.command(data)
app.command(train_app)
for parent, prefix, verbs in (
    (app, "", ("predict", "evaluate", "score", "demo", "models", "export", "bench")),
    (data, "data_", ("download", "synth", "doctor", "stats", "show", "convert")),
):
    for verb in verbs:
        parent.command(getattr(import_module(f"vocseg.cli.{prefix}{verb}"), verb), help_format="markdown")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0, 2 for bad input or use, 1 for a failure, 128 + N after signal N.

    An error is one line on standard error; ``--debug`` prints its traceback first.
    """
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    accept_all_characters()
    _clean_up_when_terminated()
    tune_process()
    try:
        tokens, targets = split_common(given)
        for target in targets:
            import_user_code(target)
        app(tokens, exit_on_error=False, print_error=False)
    except (VocsegError, CycloptsError, argparse.ArgumentError) as error:
        _fail(str(error), error.exit_code if isinstance(error, VocsegError) else 2, debug)
    except KeyboardInterrupt as error:
        _fail(f"interrupted; {error}" if error.args else "interrupted", 130, debug)
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(1) from None
    except Exception as error:
        _fail(f"{type(error).__name__}: {error} (--debug prints the traceback)", 1, debug)


def split_common(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Split the command line into what the verb gets, without --debug, and the values of --import."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--import", dest="targets", nargs="?", action="append", default=[])
    common, rest = parser.parse_known_args(arguments)
    if None in common.targets:
        raise InputError("--import needs a Python file or the name of a module")
    return rest, common.targets


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
