"""Errors that a user can act on: one line that names the file and the value, then what to do."""

from __future__ import annotations

import errno
import re
from pathlib import Path

STAND_INS: dict[str, str] = {}
"""Local files and folders that stand in for remote ones, and the URLs of these."""
_USER = re.compile(r"(?<=://)(?![^\s/@:]*:\d+(?:[/?#\s]|$))[^\s/@:]*:[^\s]*@|(?<=://)(?<!abfs://)(?<!abfss://)[^\s/@:?#]+@")
_SECRET = re.compile(
    r"([?&;#](?:[^=&;#\s]*(?:sig|token|secret|passw|pwd|key|cred|auth|session|policy|code|sas|accessid)[^=&;#\s]*)=)"
    r"[^&#\s]+?(?=[:,.;)'\"\]]*(?:[&#\s]|$))",
    re.IGNORECASE,
)


def shown(text: object) -> str:
    """Return a text in which what stands in for remote files has their URLs, and URLs have no passwords, keys and signatures.

    >>> shown("https://me:secret@host/a.jpg?size=3&X-Amz-Signature=abc: not found")
    'https://***@host/a.jpg?size=3&X-Amz-Signature=***: not found'
    """
    found = str(text)
    for local, url in STAND_INS.items():
        found = found.replace(local, url)
    return _SECRET.sub(r"\1***", _USER.sub("***@", found)) if "://" in found else found


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

    def __str__(self) -> str:
        return shown(super().__str__())


class InputError(VocsegError):
    """An input of the user is wrong: a path, a name, a setting."""

    exit_code = 2


class DataError(InputError):
    """An image, a mask or a split list is missing or malformed."""


class ImageError(DataError):
    """An image or mask cannot be decoded."""


class TooManyPixels(ImageError):
    """An image or mask has more pixels than the limit."""


class ModelError(InputError):
    """A model name, a model file or its weights cannot be used."""


class SettingError(InputError):
    """A setting is unknown or its value is out of range."""


class OutputError(InputError):
    """A file or folder cannot be written."""


class TrainingError(VocsegError):
    """Training cannot continue."""


class TrainingStopped(TrainingError):
    """A signal stopped training, after a checkpoint; ``exit_code`` is 128 + the signal's number, as in a shell."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


class ExportError(VocsegError):
    """An exported file does not give its model's masks."""


def reason(error: BaseException) -> str:
    """Return the first line of an exception's message, without the error number of the system."""
    message = str(getattr(error, "strerror", None) or error).strip()
    return message.splitlines()[0] if message else type(error).__name__


def cannot_write(path: Path, error: OSError) -> OutputError:
    """Return the OutputError for a failed write to ``path``; a full or broken disk counts as a failure, not as bad use."""
    failure = OutputError(f"cannot write {path}: {reason(error)}")
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG):
        failure.exit_code = 1
    return failure


def nearest(name: str, known: list[str]) -> str:
    """Return ``"; did you mean 'x'?"`` if one of the ``known`` names resembles ``name``, otherwise an empty string."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""
