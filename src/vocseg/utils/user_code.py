"""Import a user's own code, which registers networks, for `vocseg --import`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from vocseg.errors import InputError

_imported: list[str] = []


def import_user_code(target: str) -> ModuleType:
    """Import a module by its dotted name, or a Python file (``code/nets.py``) under its stem.

    The folder of the file, or the current folder for a module, joins the end of ``sys.path``, so that worker
    processes find the code, and the code its neighbors. Raises InputError, naming the target, for any failure.

    >>> import_user_code("json.tool").__name__
    'json.tool'
    """
    path = Path(target).expanduser().absolute()
    is_file = path.suffix == ".py"
    if is_file and not path.is_file():
        raise InputError(f"cannot import {target}: there is no such file")
    folder = str(path.parent if is_file else Path.cwd())
    if folder not in sys.path:
        sys.path.append(folder)
    importlib.invalidate_caches()
    if is_file:
        spec = importlib.util.find_spec(path.stem) if path.stem.isidentifier() else None
        if spec is None or spec.origin is None or not Path(spec.origin).exists() or not path.samefile(spec.origin):
            raise InputError(f"cannot import {target}: '{path.stem}' is another module's name or not a valid one; rename the file")
    try:
        module = importlib.import_module(path.stem if is_file else target)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"cannot import {target}: {type(error).__name__}: {error}") from error
    if target not in _imported:
        _imported.append(target)
    return module


def imported_user_code() -> tuple[str, ...]:
    """Return the targets imported so far, in order, for a new process to import as well."""
    return tuple(_imported)
