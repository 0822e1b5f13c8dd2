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


def _is_installed(kind: str) -> bool:
    if kind == "HEIF":
        return importlib.util.find_spec("pillow_heif") is not None
    from PIL import features

    return "avif" in features.modules and bool(features.check("avif"))
