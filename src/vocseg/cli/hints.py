"""What a wrong command line says."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

from cyclopts import App, CoercionError, CycloptsError, MissingArgumentError, UnknownCommandError, UnknownOptionError
from cyclopts.argument import ArgumentCollection
from cyclopts.exceptions import UnusedCliTokensError

from vocseg.errors import SettingError

CUTOFF = 0.75
"""How alike names must be for a hint; cyclopts hints at 0.6 and counts the dashes: ``--nosuch`` would be ``--out``."""
SYNONYMS = {"gpu": "cuda", "fp16": "float16", "half": "float16", "bf16": "bfloat16", "fp32": "float32", "full": "float32"}


def explain(error: CycloptsError) -> str:
    """Return the message of an error, with a hint only if a name is near, and with all commands."""
    text = re.sub(r" (Did you mean|Available commands:) .*", "", str(error))
    verb = " ".join(("vocseg", *(error.command_chain or ())))
    match error:
        case UnknownOptionError():
            names = [name for argument in error.argument_collection if argument.parse for name in argument.names] + ["--help"]
            return text + _hint(error.token.keyword or error.token.value, names)
        case UnknownCommandError() if error.app is not None and error.unused_tokens:
            names = [name for name in error.app if not name.startswith("-")]
            return f"{text}{_hint(error.unused_tokens[0], names)} Commands: {', '.join(names)}."
        case MissingArgumentError() if error.argument is not None:
            if error.keyword is not None:
                return f"{error.keyword} needs a value; see `{verb} --help`"
            name = error.argument.name if error.argument.field_info.is_keyword_only else error.argument.name.lstrip("-").upper()
            return f"{verb} needs {name}; see `{verb} --help`"
        case UnusedCliTokensError() if error.unused_tokens:
            return f"{verb} takes no further {' '.join(error.unused_tokens)}; see `{verb} --help`"
        case CoercionError() if error.token is not None and (choices := get_args(error.target_type)):
            return text + _hint(error.token.value, choices)
    return text


def check_numbers(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Raise SettingError for fractions as integers, which cyclopts rounds, and for what is no number (nan)."""
    for argument in arguments:
        if argument.parameter.converter is not None:
            continue
        kinds = _kinds_of(argument.hint)
        for value in (token.value for token in argument.tokens):
            if int in kinds and float not in kinds and "." in value:
                raise SettingError(f'Invalid value "{value}" for {argument.name}. It must be an integer.')
            if float in kinds and value.strip().lower().lstrip("+-") == "nan":
                raise SettingError(f'Invalid value "{value}" for {argument.name}. It must be a number.')


def _kinds_of(hint: Any) -> set[Any]:
    """Return the types in an annotation."""
    return {hint}.union(*map(_kinds_of, get_args(hint))) if get_args(hint) and get_origin(hint) is not Literal else {hint}


def _hint(given: str, known: Sequence[str]) -> str:
    names = {name.lstrip("-"): name for name in map(str, known)}
    word = given.split("=")[0].lstrip("-").replace("_", "-").lower()
    near = [SYNONYMS[word]] if SYNONYMS.get(word) in names else difflib.get_close_matches(word, names, n=1, cutoff=CUTOFF)
    return f" Did you mean {names[near[0]]}?" if near else ""
