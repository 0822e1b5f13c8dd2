"""Map the labels of a source to class ids 0 to n-1, and 255 for void."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vocseg import voc
from vocseg.convert.readers.tools import LABELME_IGNORE
from vocseg.convert.source import Source, is_background
from vocseg.data.layout import read_classes
from vocseg.errors import DataError, SettingError, nearest

Names = dict[int, str]
"""Class names by label."""


class ClassMap(NamedTuple):
    """Class names in the order of their ids, the id (or 255) of each of 256 labels, and a note on their origin."""

    classes: tuple[str, ...]
    ids: NDArray[np.uint8]
    note: str


class Labels(NamedTuple):
    """Labels that occur except 255, whether 255 occurs, and a function that describes where a label is first found."""

    present: set[int]
    has_void: bool
    first: Callable[[int], str]


def parse_classes(given: str | Path | Sequence[str] | None) -> tuple[str, ...] | None:
    """Return class names from a sequence, a file with one name a line, or a comma-separated list."""
    if not given:
        return None
    if isinstance(given, (str, Path)):
        text = str(given)
        if "," not in text and Path(text).is_file():
            return read_classes(Path(text))
        given = parse_names(text)
        if not given or (len(given) == 1 and any(sign in text for sign in "./\\")):  # the name of a missing file
            raise SettingError(f"classes '{text}' is neither a file nor names separated by commas")
    names = parse_names(given)
    if repeated := _repeated(names):
        raise SettingError(f"classes names '{repeated}' twice")
    return names


def parse_names(given: str | Sequence[str | int]) -> tuple[str, ...]:
    """Return labels and class names from a sequence or a comma-separated list."""
    tokens = (str(token).strip() for token in (given.split(",") if isinstance(given, str) else given))
    return tuple(token for token in tokens if token)


def _repeated(names: Iterable[str]) -> str | None:
    return next((name for name, count in Counter(names).items() if count > 1), None)


def map_classes(
    source: Source, labels: Labels, given: tuple[str, ...] | None, void: tuple[str, ...], others: str | None = None
) -> ClassMap:
    """Decide on the classes of a data set; the user has ``given`` names, and labels and names that become ``void``.

    Labels of no class become ``others``: background or void. Without it, they raise an error.

    Raises DataError for a label that is neither a class nor void, SettingError for names that are not in the source.
    """
    numbers = {int(token) for token in void if token.isdigit()}
    if numbers and source.fill:
        known = ", ".join((source.names or {}).values())
        raise SettingError(f"void '{min(numbers)}': {source.kind} classes are names, not numbers ({known})")
    if given and source.fill:
        given = tuple(voc.BACKGROUND_NAMES[0] if is_background(name) else name for name in given if name != LABELME_IGNORE)
    select = bool(given and source.names is not None and (source.named or others))
    if given and select and others == "background" and voc.background(given) is None:
        given = (voc.BACKGROUND_NAMES[0], *given)
    if source.names is not None and (select or not given):
        names, note = source.names, "as named in the source"
    elif given:
        names, note = dict(enumerate(given)), "as given"
    else:
        names = _inferred(labels.present - numbers - source.void, labels.has_void, source.found)
        note = "not named in the source: class_0, class_1, ... (set names with --classes, exclude labels with --void)"
    by_id = source.kind == "voc" or (source.kind == "folders" and not source.named)
    if by_id and len(names) > 1 and labels.present == {0} and labels.has_void:
        raise _binary(source.found)
    not_classes = source.void | numbers | _void_labels(void, names)
    rest = sorted(labels.present - set(names) - not_classes)
    for label in rest if others is None else ():
        known = f"0 to {len(names) - 1}" if sorted(names) == list(range(len(names))) else ", ".join(map(str, sorted(names)))
        raise DataError(
            f"{labels.first(label)}, which is not a class (classes are {known}) and not void; "
            f"--void {label} makes it void, --others void all such labels, --classes names more classes"
        )
    names = {label: name for label, name in sorted(names.items()) if label not in not_classes}
    if given and select:
        chosen = _select(names, [name for name in given if name not in void], labels, others)
        rest += [label for label in names if label in labels.present and label not in chosen]
        names, note = chosen, "as given"
    elif source.fill and 0 not in labels.present and not rest:
        names.pop(0, None)  # background, if nothing shows it
    # A line of classes.txt must be able to hold each name.
    classes = tuple(" ".join(name.split()) or f"class_{label}" for label, name in names.items())
    if repeated := _repeated(classes):
        raise DataError(f"{source.found} has two classes called '{repeated}'")
    if not 0 < len(classes) <= voc.VOID:
        raise DataError(f"{len(classes)} classes are left of {source.found}; there must be 1 to {voc.VOID}, the others void")
    ids = np.full(256, voc.VOID, dtype=np.uint8)
    for id_, label in enumerate(names):
        if label < voc.VOID:  # the others are given, but not in the source
            ids[label] = id_
    if others == "background":
        ids[rest] = _background_id(classes)
    return ClassMap(classes, ids, note)


def _inferred(present: set[int], has_void: bool, found: str) -> Names:
    top = max(present, default=-1)
    if top < 0:
        raise DataError(f"every mask of {found} is void: all pixels are 255")
    if present == {0} and has_void:
        raise _binary(found)
    # Gray levels (0, 38, 75, ...) stand for colors, not for class ids.
    if top + 1 > 2 * len(present) and top > 3:
        some = ", ".join(str(label) for label in sorted(present)[:8]) + (", ..." if len(present) > 8 else "")
        raise DataError(
            f"masks of {found} have {len(present)} labels up to {top} ({some}), which are not consecutive class ids; "
            "map gray levels to classes with --colors FILE (lines 'name,r,g,b'), "
            "name all labels from 0 with --classes, or exclude labels with --void"
        )
    return {label: f"class_{label}" for label in range(top + 1)}


def _binary(found: str) -> DataError:
    return DataError(
        f"masks of {found} hold 0 and 255 only, and 255 is void; if it is a class, use --colors FILE "
        "with the lines 'background,0,0,0' and 'NAME,255,255,255'"
    )


def _void_labels(void: tuple[str, ...], names: Names) -> set[int]:
    labels = {name: label for label, name in names.items()}
    wanted = [token for token in void if not token.isdigit()]
    if unknown := next((name for name in wanted if name not in labels), None):
        raise SettingError(f"void '{unknown}' is neither a label nor a class{nearest(unknown, list(labels))}")
    return {labels[name] for name in wanted}


def _select(names: Names, given: Sequence[str], labels: Labels, others: str | None) -> Names:
    """Return the ``given`` classes, in that order; those that the source lacks have labels from 256.

    Raises DataError if labels of any other class occur and do not become ``others``.
    """
    by_name = {" ".join(name.split()): label for label, name in names.items()}
    spare = [name for name in by_name if name not in given]
    missing = [name for name in given if name not in by_name]
    for name in missing:  # so that batches of one project get the same ids; but a typo is none
        if hint := nearest(name, spare):
            raise SettingError(f"class '{name}' is not in the source{hint} (its classes: {', '.join(by_name)})")
    rest = [name for name in spare if by_name[name] in labels.present]
    if rest and others is None:
        raise DataError(
            f"{labels.first(by_name[rest[0]])}, class '{rest[0]}', which is not in --classes; "
            + (f"add it (--classes {','.join((rest[0], *given))}), or " if rest[0] in voc.BACKGROUND_NAMES else "")
            + "--others background or --others void makes all pixels of other classes background or void"
        )
    return {by_name.get(name, 256 + place): name for place, name in enumerate(given)}


def _background_id(classes: tuple[str, ...]) -> int:
    if (background := voc.background(classes)) is None:
        raise SettingError(f"others 'background': none of the classes is called background ({', '.join(classes)})")
    return background
