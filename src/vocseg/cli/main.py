"""The command line: ``vocseg VERB ...``. A verb's module imports torch only when the verb runs: help must be quick."""

from __future__ import annotations

import argparse
import errno
import logging
import signal
import sys
import traceback
import warnings
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from cyclopts import App, CycloptsError

from vocseg import __version__
from vocseg.cli.console import flush_output, prepare_output
from vocseg.cli.hints import check_numbers, explain
from vocseg.cli.signals import StopSignals, signal_of
from vocseg.cli.train import train_app
from vocseg.errors import InputError, TrainingStopped, VocsegError
from vocseg.utils.files import cannot_write
from vocseg.utils.system import set_max_pixels, tune_process
from vocseg.utils.text import visible
from vocseg.utils.user_code import import_user_code

app = App(
    name="vocseg",
    version=__version__,
    help="""Semantic segmentation on Pascal VOC 2012 and on data laid out like it.

Segment an image:          vocseg predict photo.jpg
See what it does:          vocseg demo
Train on synthetic data:   vocseg data synth demo/data
                           vocseg train --data demo/data --config synthetic
Train on VOC 2012:         vocseg data download data
                           vocseg train --data data
Score a model:             vocseg evaluate runs/NAME/best.safetensors

With every verb:
--import FILE.py|MODULE    import your code, e.g. your networks; repeatable
--max-pixels N             read images of up to N pixels; default: 100 million
--debug                    print the traceback of an error""",
    help_format="plaintext",
    config=check_numbers,
    suppress_keyboard_interrupt=False,
)
data = App(name="data", help="Download, convert, check and describe data sets in VOC layout.")
app.command(data)
app.command(train_app)
USAGE = {
    "predict": "vocseg predict [OPTIONS] IMAGES...",
    "merge": "vocseg merge [OPTIONS] RESULTS...",
    "compare": "vocseg compare [OPTIONS] A B",
    "report": "vocseg report [OPTIONS] RESULTS [OTHER]",
    "submit": "vocseg submit [OPTIONS] [SOURCE]",
    "models": "vocseg models [OPTIONS] [PATTERN]",
    "export": "vocseg export [OPTIONS] [MODEL]",
    "serve": "vocseg serve [OPTIONS] [MODEL]",
    "show": "vocseg data show [OPTIONS] DATA [IDS...]",
}
"""Usage of verbs for which cyclopts shows ``ARGS``, or one argument for several."""
for parent, prefix, verbs in (
    (
        app,
        "",
        ("predict", "evaluate", "score", "merge", "compare", "report", "submit", "demo", "models", "export", "bench", "serve"),
    ),
    (data, "data_", ("download", "synth", "doctor", "stats", "show", "errors", "convert", "pack", "unpack")),
):
    for verb in verbs:
        usage = f"Usage: {USAGE[verb]}\n" if verb in USAGE else None
        parent.command(getattr(import_module(f"vocseg.cli.{prefix}{verb}"), verb), help_format="markdown", usage=usage)
CLOSED_OUTPUT = 141
"""Exit code if the reader of standard output ends, as ``head`` does: that of SIGPIPE in a shell, as of other programs."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0, 2 for bad input or use, 1 for a failure, 128 + N after signal N.

    An error is one line on standard error; ``--debug`` prints its traceback first.
    """
    given = sys.argv[1:] if arguments is None else arguments
    prepare_output()
    tune_process()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # vocseg has none; those of torch and Pillow are for programmers
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # its lines would be printed; vocseg's errors say the same
    try:
        with StopSignals(at_once=True):
            try:
                tokens, common = split_common(given)
                if common.max_pixels is not None:
                    set_max_pixels(common.max_pixels)
                for target in common.targets:
                    import_user_code(target)
                app(tokens, exit_on_error=False, print_error=False)
            finally:
                flush_output()
        raise SystemExit(0)
    except SystemExit as end:  # rich ends the process if the reader of its output has ended
        raise SystemExit(CLOSED_OUTPUT if isinstance(end.__context__, BrokenPipeError) else end.code or 0) from None
    except BaseException as error:
        message, code = _describe(error)
        if "--debug" in given:
            traceback.print_exc()
        if message:
            print(f"vocseg: {visible(' '.join(message.split()))}", file=sys.stderr)
        raise SystemExit(code) from None


def _describe(error: BaseException) -> tuple[str, int]:
    """Return the line that is printed for an error, and the exit code."""
    match error:
        case TrainingStopped():
            return str(error), error.exit_code
        case VocsegError():
            return f"error: {error}", error.exit_code
        case CycloptsError():
            return f"error: {explain(error)}", 2
        case argparse.ArgumentError():
            return f"error: {error}", 2
        case KeyboardInterrupt():
            number = signal_of(error)
            what = "interrupted" if number == signal.SIGINT else f"stopped by {number.name}"
            return "; ".join([what, *map(str, error.args)]), 128 + number
        case BrokenPipeError():
            return "", CLOSED_OUTPUT
        case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT):
            failure = cannot_write(Path(error.filename or "the output"), error)
            return f"error: {failure}", failure.exit_code
    return f"error: {type(error).__name__}: {error} (--debug prints the traceback)", 1


def split_common(arguments: list[str]) -> tuple[list[str], argparse.Namespace]:
    """Split the command line into what the verb gets, and the options of every verb."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--import", dest="targets", nargs="?", action="append", default=[])
    parser.add_argument("--max-pixels", type=int)
    common, rest = parser.parse_known_args(arguments)
    if None in common.targets:
        raise InputError("--import needs a Python file or the name of a module")
    # cyclopts takes a lone hyphen for an option.
    return (["stdin:" if token == "-" else token for token in rest] if rest[:1] == ["predict"] else rest), common
