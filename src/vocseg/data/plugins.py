"""Image formats that Pillow reads only with a plug-in: AVIF and HEIC. Does not import torch."""

from __future__ import annotations

import importlib
import importlib.util

ADVICE = {
    "AVIF": "AVIF needs a Pillow with AVIF (11.3 or newer)",
    "HEIF": "HEIC needs the Pillow plug-in pillow-heif (pip install pillow-heif)",
}
"""What to install for a format, by Pillow's name of it."""
SUFFIXES = {".avif": "AVIF", ".heic": "HEIF", ".heif": "HEIF"}
BRANDS = {"AVIF": (b"avif", b"avis"), "HEIF": (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")}
"""What follows ``ftyp`` in the head of a file."""

OTHERS = {
    b"<!doctype html": "a web page", b"<html": "a web page", b"PK\x03\x04": "a ZIP archive", b"\x1f\x8b": "a gzip archive",
    b"%PDF": "a PDF document", b"<svg": "an SVG drawing", b"<?xml": "an XML document", b"\x1a\x45\xdf\xa3": "a video",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 image", b"8BPS": "a Photoshop document", b"%!PS": "a PostScript program",
}  # fmt: skip
"""What files are that are no images, or not in a format that is read, by their first bytes."""


def missing_plugin(suffix: str) -> str | None:
    """Say what files of a suffix need that is not installed; None if they can be read.

    >>> missing_plugin(".jpg")
    """
    kind = SUFFIXES.get(suffix.lower())
    return None if kind is None or _is_installed(kind) else ADVICE[kind]


def plugin_format(head: bytes) -> str | None:
    """Return Pillow's name of the format of a file that begins so, and register its plug-in; None for other formats.

    Raises ValueError, saying what to install, if there is none.
    """
    kind = next((kind for kind, brands in BRANDS.items() if head[4:8] == b"ftyp" and head[8:12] in brands), None)
    if kind is None:
        return None
    if not _is_installed(kind):
        raise ValueError(ADVICE[kind])
    if kind == "AVIF":
        importlib.import_module("PIL.AvifImagePlugin")
    else:
        importlib.import_module("pillow_heif").register_heif_opener()
    return kind


def content_kind(head: bytes) -> str:
    """Say what a file that begins so is, if it is of a usual kind and no image that is read; otherwise an empty string.

    >>> content_kind(b"<!DOCTYPE html>"), content_kind(b"%PDF-1.7"), content_kind(b"GIF89a")
    ('a web page', 'a PDF document', '')
    """
    if head[4:8] == b"ftyp" or head[8:12] == b"AVI ":
        return "a video"
    text = head.lstrip().lower()
    return next((kind for prefix, kind in OTHERS.items() if text.startswith(prefix.lower())), "")


def _is_installed(kind: str) -> bool:
    if kind == "HEIF":
        return importlib.util.find_spec("pillow_heif") is not None
    from PIL import features

    return "avif" in features.modules and bool(features.check("avif"))
