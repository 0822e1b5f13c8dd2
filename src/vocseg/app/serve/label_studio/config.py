"""Read a project's label configuration: which polygons it takes, of what image, with which labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple
from xml.etree import ElementTree

from starlette.exceptions import HTTPException

from vocseg.utils.text import visible

TAG = "PolygonLabels"
LONGEST = 1 << 18
"""Characters of a configuration."""
MAX_SIMPLIFY = 100.0
_VARIABLE = re.compile(r"\$(\w[\w.-]*)")


class Control(NamedTuple):
    """The tag that takes polygons. ``labels``: by class id, of the classes that have one.

    ``key``: of a task's data that holds the image. ``simplify``: pixels by which borders may move to have fewer corners.
    """

    name: str
    to_name: str
    key: str
    labels: dict[int, str]
    simplify: float = 0.0


def read_config(text: str, classes: Sequence[str]) -> Control:
    """Find the polygons and the labels for a model's classes in a configuration (XML). Raises 422 if it has none.

    A label stands for the class of its name, whatever its case, spaces, ``-`` and ``_``, and for those in its
    ``predicted_values`` (separated by commas).

    >>> config = '<View><Image name="photo" value="$url"/><PolygonLabels name="shape" toName="photo">'
    >>> read_config(f'{config}<Label value="Cat"/><Label value="Animal" predicted_values="dog,cow"/></PolygonLabels></View>',
    ...             ["background", "cat", "cow"])
    Control(name='shape', to_name='photo', key='url', labels={1: 'Cat', 2: 'Animal'}, simplify=0.0)
    """
    root = _parsed(text)
    images = {tag.get("name", ""): tag.get("value", "") for tag in root.iter("Image")}
    for tag in root.iter(TAG):
        to_name = next((name for name in tag.get("toName", "").split(",") if name in images), None)
        if to_name is None or not tag.get("name"):
            continue
        key = _VARIABLE.fullmatch(images[to_name])
        if key is None:
            raise _wrong(f"the image {to_name} has the value {images[to_name][:80]!r}, not the name of a task's data, $image")
        labels = _labels(tag, classes)
        if not labels:
            raise _wrong(f"no label of {tag.get('name')} is a class of the model; its classes are {', '.join(classes)}")
        return Control(tag.get("name", ""), to_name, key[1], labels, _simplify(tag))
    raise _wrong(f"it has no {TAG} for an Image; vocseg draws polygons only")


def _wrong(message: str) -> HTTPException:
    return HTTPException(422, f"the label configuration cannot be used: {visible(message)}")


def _parsed(text: str) -> ElementTree.Element:
    if len(text) > LONGEST:
        raise _wrong(f"it has more than {LONGEST:,} characters")
    # Only a document type can define entities, which grow when they are read, or lead to files.
    if "<!DOCTYPE" in text:
        raise _wrong("it has a document type; remove <!DOCTYPE ...>")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise _wrong(f"it is not XML: {error}") from error


def _labels(tag: ElementTree.Element, classes: Sequence[str]) -> dict[int, str]:
    known: dict[str, str] = {}
    for label in tag.iter("Label"):
        value = label.get("value", "")
        for name in (value, *label.get("predicted_values", "").split(",")):
            if value and _plain(name):
                known.setdefault(_plain(name), value)
    return {number: known[_plain(name)] for number, name in enumerate(classes) if _plain(name) in known}


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.casefold())


def _simplify(tag: ElementTree.Element) -> float:
    given = tag.get("model_simplify", "0")
    try:
        value = float(given)
    except ValueError:
        value = -1.0
    if not 0 <= value <= MAX_SIMPLIFY:
        raise _wrong(f"model_simplify is {given[:40]!r}, not a number of pixels, 0 to {MAX_SIMPLIFY:g}")
    return value
