"""From the labels of a source to class ids 0 to n-1 and 255."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vocseg import voc
from vocseg.convert.source import Source
from vocseg.data.layout import read_classes
from vocseg.errors import DataError, SettingError, nearest


@dataclass(frozen=True)
class ClassMap:
    """Class names in the order of their ids, the id (or 255) of each of a source's labels, and how they came about."""

    classes: tuple[str, ...]
    ids: NDArray[np.uint8]
    note: str


def parse_classes(text: str) -> tuple[str, ...]:
    """Class names of ``--classes``: a file with one name a line, or names split by commas."""
    if "," not in text and Path(text).is_file():
        return read_classes(Path(text))
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names or (len(names) == 1 and any(sign in text for sign in "./\\")):  # a file's name, rather than a class's
        raise SettingError(f"classes '{text}' is neither a file nor names split by commas")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise SettingError(f"classes names '{twice}' twice")
    return names


def map_classes(
    source: Source,
    shown: NDArray[np.bool_],
    given: tuple[str, ...] | None,
    void: tuple[str, ...],
    locate: Callable[[int, int], str],
) -> ClassMap:
    """Decide on the classes of a data set.

    ``shown`` (images x 256) tells which image has which label, ``given`` are the names of ``--classes``, ``void`` the
    labels and names of ``--void``; ``locate(image, label)`` describes where a label lies. Raises DataError for a label
    that is no class, SettingError for names that the source does not have.
    """
    present = {int(label) for label in np.flatnonzero(shown.any(0))} - {voc.VOID}
    names, note = source.names, "as the source names them"
    numbers = {int(token) for token in void if token.isdigit()}
    if names is None or (given and not source.named):
        if given:
            names, note = dict(enumerate(given)), "as given"
        else:
            names = _inferred(present - numbers - source.void, bool(shown[:, voc.VOID].any()), source)
            note = (
                "not named by the source, so called class_0, ... by label: --classes names them, --void takes out what is no class"
            )
    by_id = source.kind == "voc" or (source.kind == "folders" and not source.named)
    if by_id and len(names) > 1 and present == {0} and shown[:, voc.VOID].any():
        raise _binary(source)
    if numbers and source.optional:
        raise SettingError(f"void '{min(numbers)}': classes of {source.kind} go by their names ({', '.join(names.values())})")
    no_class = source.void | numbers | _void_names(void, names)
    for label in sorted(present - set(names) - no_class):
        image = int(np.flatnonzero(shown[:, label])[0])
        raise DataError(
            f"{locate(image, label)}, which is no class ({_range(names)}) and not void; "
            f"--void {label} makes it void, --classes names more classes"
        )
    names = {label: name for label, name in sorted(names.items()) if label not in no_class}
    if given and source.named:
        names, note = _chosen(names, given, present, shown, locate), "as given"
    else:
        names = {label: name for label, name in names.items() if label in present or label not in source.optional}
    names = _clean(names, source)
    if not names:
        raise DataError(f"no class is left: every label of {source.found} is void")
    ids = np.full(256, voc.VOID, dtype=np.uint8)
    ids[list(names)] = np.arange(len(names))
    return ClassMap(tuple(names.values()), ids, note)


def _inferred(present: set[int], void: bool, source: Source) -> dict[int, str]:
    top = max(present, default=-1)
    if top < 0:
        raise DataError(f"every mask of {source.found} is void: all pixels are 255")
    if present == {0} and void:
        raise _binary(source)
    # Gray levels (0, 38, 75, ...) are colors in truth, not class ids.
    if top + 1 > 2 * len(present) and top > 3:
        some = ", ".join(str(label) for label in sorted(present)[:8])
        raise DataError(
            f"masks of {source.found} hold {len(present)} labels up to {top} ({some}{', ...' if len(present) > 8 else ''}), which "
            "do not count classes up from 0; --colors FILE with lines 'name,r,g,b' says which gray is which class, "
            "--classes names every label from 0, --void takes labels out"
        )
    return {label: f"class_{label}" for label in range(top + 1)}


def _binary(source: Source) -> DataError:
    return DataError(
        f"masks of {source.found} hold 0 and 255 only, and 255 is void; if it is a class, say so with --colors FILE, "
        "with the lines 'background,0,0,0' and 'NAME,255,255,255'"
    )


def _void_names(void: tuple[str, ...], names: dict[int, str]) -> set[int]:
    labels = {name: label for label, name in names.items()}
    unknown = [token for token in void if not token.isdigit() and token not in labels]
    if unknown:
        raise SettingError(f"void '{unknown[0]}' is neither a label nor a class{nearest(unknown[0], list(labels))}")
    return {labels[token] for token in void if not token.isdigit()}


def _chosen(
    names: dict[int, str],
    given: tuple[str, ...],
    present: set[int],
    shown: NDArray[np.bool_],
    locate: Callable[[int, int], str],
) -> dict[int, str]:
    """The source's classes in the order of ``given``; those that it lacks must at least not be misspelt."""
    labels = {name: label for label, name in names.items()}
    unknown = [name for name in given if name not in labels]
    if unknown:
        known = ", ".join(labels)
        raise SettingError(f"class '{unknown[0]}' is not in the source{nearest(unknown[0], list(labels))} (it has {known})")
    spare = sorted(present & (set(names) - {labels[name] for name in given}))
    if spare:
        image = int(np.flatnonzero(shown[:, spare[0]])[0])
        void = ",".join(names[label] for label in spare)
        raise DataError(
            f"{locate(image, spare[0])}, class '{names[spare[0]]}', which --classes leaves out; "
            f"--void '{void}' makes {'it' if len(spare) == 1 else f'all {len(spare)} left-out classes'} void"
        )
    return {labels[name]: name for name in given}


def _clean(names: dict[int, str], source: Source) -> dict[int, str]:
    """Names that a line of ``classes.txt`` can hold, each once."""
    cleaned = {label: " ".join(name.split()) or f"class_{label}" for label, name in names.items()}
    twice = next((name for name, count in Counter(cleaned.values()).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"{source.found} has two classes called '{twice}'")
    return cleaned


def _range(names: dict[int, str]) -> str:
    if sorted(names) == list(range(len(names))):
        return f"classes are 0 to {len(names) - 1}"
    return f"classes are {', '.join(map(str, sorted(names)))}"
