"""Signals end a verb in order, say so without calling it an error, and are obeyed at last."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from vocseg.cli.signals import REPEAT_SECONDS
from vocseg.utils.system import SIGNALS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")

VERB = """
import signal, sys, time
from vocseg.cli import main as cli
from vocseg.cli.signals import StopSignals

def forever():
    print("ready", flush=True)
    while True:
        time.sleep(0.01)

@cli.app.command
def wait():
    try:
        forever()
    finally:
        print("tidied", flush=True)

@cli.app.command
def again():
    try:
        forever()
    except KeyboardInterrupt:
        raise KeyboardInterrupt("3 of 9 images done") from None

@cli.app.command
def finish():
    with StopSignals() as signals:
        forever()

@cli.app.command
def deaf():
    with StopSignals() as signals:
        while True:
            try:
                forever()
            except KeyboardInterrupt:
                pass

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
signal.signal(signal.SIGHUP, signal.SIG_IGN if "--nohup" in sys.argv else signal.SIG_DFL)
sys.argv = [argument for argument in sys.argv if argument != "--nohup"]
cli.main()
"""
Process = subprocess.Popen[str]


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """Start one of the verbs above and wait until it runs."""
    started: list[Process] = []

    def call(*arguments: str) -> Process:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen([sys.executable, "-c", VERB, *arguments], text=True, **pipes)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield call
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_verb_ends_in_order(start: Callable[..., Process], number: signal.Signals) -> None:
    process = start("wait")
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    what = "interrupted" if number == signal.SIGINT else f"stopped by {number.name}"
    assert (process.returncode, out, err) == (128 + number, "tidied\n", f"vocseg: {what}\n")


def test_the_signal_and_the_message_of_an_interruption_that_is_raised_again(start: Callable[..., Process]) -> None:
    process = start("again")
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20)[1] == "vocseg: stopped by SIGTERM; 3 of 9 images done\n"
    assert process.returncode == 143


def test_a_hangup_that_is_ignored_stays_so(start: Callable[..., Process]) -> None:
    process = start("wait", "--nohup")
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None
    process.terminate()
    assert process.communicate(timeout=20)[1] == "vocseg: stopped by SIGTERM\n"


def test_a_second_signal_ends_what_the_first_did_not(start: Callable[..., Process]) -> None:
    process = start("finish")
    process.terminate()
    process.terminate()  # at once: a launcher and its scheduler
    time.sleep(REPEAT_SECONDS + 0.2)
    assert process.poll() is None
    process.terminate()
    assert process.communicate(timeout=20)[1] == "vocseg: stopped by SIGTERM\n"
    assert process.returncode == 143


def test_a_third_signal_ends_what_catches_every_exception(start: Callable[..., Process]) -> None:
    process = start("deaf")
    for _ in range(3):
        process.terminate()
        time.sleep(REPEAT_SECONDS + 0.2)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM
