"""Errors the user can act on: one line that names the file and the value."""

from __future__ import annotations


class VocsegError(Exception):
    """Base class of all errors that vocseg raises on purpose; the message is one line.

    ``exit_code`` is what the command line exits with: 1 for a failure while running, 2 for bad input or use.

    >>> import vocseg
    >>> try:
    ...     vocseg.create_model("deeplabv3_resnet11")
    ... except vocseg.VocsegError as error:
    ...     print(error.exit_code, str(error).split(" (")[0])
    2 unknown model 'deeplabv3_resnet11'; did you mean 'deeplabv3_resnet101'?
    """

    exit_code = 1


class InputError(VocsegError):
    """Something the user gave is wrong: a path, a name, a setting."""

    exit_code = 2


class DataError(InputError):
    """An image, a mask or a split list is missing or malformed."""


class ModelError(InputError):
    """A model name, a model file or its weights cannot be used."""


class SettingError(InputError):
    """A setting is unknown or its value is out of range."""


class OutputError(InputError):
    """A file or folder cannot be written."""


class TrainingError(VocsegError):
    """Training cannot go on."""


class TrainingStopped(TrainingError):
    """Training was asked to stop by a signal and did so in order; ``exit_code`` is what a shell gives for that signal."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


class ExportError(VocsegError):
    """An exported file does not do what its model does."""


def reason(error: BaseException) -> str:
    """What an exception says, without the number that systems put before it."""
    return getattr(error, "strerror", None) or str(error)


def nearest(name: str, known: list[str]) -> str:
    """A hint ``"; did you mean 'x'?"`` for a misspelt ``name``, or an empty string."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""
