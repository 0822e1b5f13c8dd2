"""Pascal VOC's constants: class names, void label, colors, folder names."""

from __future__ import annotations

from collections.abc import Sequence

CLASSES: tuple[str, ...] = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
"""The 21 classes in the order of their ids (VOC2012 devkit, ``VOCinit.m``)."""

BACKGROUND = 0
"""Label of what belongs to no class."""
BACKGROUND_NAMES = ("background", "_background_", "__background__")
"""Class names that data sets use for it."""


def background(classes: Sequence[str]) -> int | None:
    """Return the label of the class called background, or None if the ``classes`` are all objects or surfaces."""
    return next((label for label, name in enumerate(classes) if name.casefold() in BACKGROUND_NAMES), None)


VOID = 255
"""Label of pixels that are not scored: object borders and difficult regions."""

YEARS = ("2007", "2008", "2009", "2010", "2011", "2012")
"""Years of the challenge that had a segmentation task with a public train and val split."""

IMAGES = "JPEGImages"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff")
"""Suffixes of the images that are read."""
UNSUPPORTED_SUFFIXES = (
    ".avif", ".heic", ".heif", ".jp2", ".j2k", ".jxl", ".jxr", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2",
    ".psd", ".exr", ".hdr", ".tga", ".ppm", ".pgm", ".pbm", ".pnm", ".pcx", ".ico", ".icns", ".dds", ".qoi", ".svg", ".eps", ".ps",
)  # fmt: skip
"""Suffixes of images in formats that are not read; in a folder each is named as skipped."""
MASKS = "SegmentationClass"
OBJECTS = "SegmentationObject"
SPLITS = "ImageSets/Segmentation"
CLASSES_FILE = "classes.txt"


def color(label: int) -> tuple[int, int, int]:
    """RGB color (0..255 each) of a label 0..255: the bits of the label dealt to R, G, B from the top (``VOClabelcolormap.m``)."""
    red = green = blue = 0
    rest = label
    for shift in range(7, -1, -1):
        red |= (rest & 1) << shift
        green |= (rest >> 1 & 1) << shift
        blue |= (rest >> 2 & 1) << shift
        rest >>= 3
    return red, green, blue


OPACITY = 0.55
"""Opacity of the colors of overlays, by default."""
PALETTE: tuple[tuple[int, int, int], ...] = tuple(color(label) for label in range(256))
"""RGB color of each of the 256 labels; ``PALETTE[VOID]`` is the cream of void borders."""
