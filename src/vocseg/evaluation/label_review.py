"""What people look at to decide about label errors: a page with crops, and labels as the model suggests them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vocseg import draw, voc
from vocseg.convert import convert
from vocseg.convert.regions import Mask
from vocseg.data.image_io import read_image, read_mask
from vocseg.data.layout import VocFolder
from vocseg.data.packed import read_bytes
from vocseg.errors import InputError
from vocseg.evaluation.label_components import KINDS, Kind, LabelError
from vocseg.evaluation.label_result import LabelErrors, most_doubtful
from vocseg.utils.files import write_text
from vocseg.utils.html import embedded, page, swatch
from vocseg.utils.text import counted

MAX_OBJECTS, MAX_IMAGES, MAX_ROWS = 24, 12, 200
"""Objects of a kind, and images, that the page shows; images that it lists."""
SIDE = 220
"""Longer side of a crop, in pixels."""


def suggested_mask(mask: Mask, objects: Iterable[LabelError], classes: tuple[str, ...]) -> Mask:
    """Return labels with objects changed as suggested, the most doubtful on top, except void and what a reviewer rejected."""
    changed = mask.copy()
    for error in sorted(objects, key=lambda error: error.order, reverse=True):
        if error.accept is not False:
            changed[error.pixels(*mask.shape) & (mask != voc.VOID)] = classes.index(error.suggested)
    return changed


def write_suggestions(result: LabelErrors, out: Path, to: str) -> list[str]:
    """Write the images of the objects that were not rejected to a data set of another format (:meth:`LabelErrors.suggest`)."""
    folder = VocFolder.find(result.data, result.mask_dir)
    objects: dict[str, list[LabelError]] = {}
    for error in result.objects:
        if error.accept is not False:
            objects.setdefault(error.id, []).append(error)
    if not objects:
        raise InputError("there are no objects to suggest other labels for")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / folder.root.name
        for name in (voc.IMAGES, voc.MASKS, voc.SPLITS):
            (root / name).mkdir(parents=True)
        for name, own in objects.items():
            image = folder.image(name)
            (root / voc.IMAGES / f"{name}{image.suffix}").write_bytes(read_bytes(image))
            mask = suggested_mask(read_mask(folder.mask(name), len(folder.classes)).numpy(), own, folder.classes)
            draw.save_mask(torch.from_numpy(mask), root / voc.MASKS / f"{name}.png")
        write_text(root / voc.CLASSES_FILE, "".join(f"{name}\n" for name in folder.classes))
        lists = root / voc.SPLITS
        write_text(lists / f"{result.split}.txt", "".join(f"{name}\n" for name in objects))
        convert(root, out, to=cast(Any, to), kind="voc", splits=lists, segments="polygons", objects="parts", allow_outside=True)
    return [*objects]


def write_page(result: LabelErrors, path: Path) -> None:
    """Write one HTML file, atomically, that needs no other file."""
    folder = VocFolder.find(result.data, result.mask_dir)
    name = folder.root.name
    shown = most_doubtful(result.objects, MAX_OBJECTS)
    sections = "".join(
        _section(kind, result.found[kind], [error for error in shown if error.kind == kind], folder) for kind in KINDS
    )
    classes = {name for error in shown for name in (error.label, error.suggested)}
    legend = "".join(
        f'<span class="name">{swatch(voc.PALETTE[label])}{escape(name)}</span>'
        for label, name in enumerate(result.classes)
        if name in classes
    )
    rows = "".join(
        f"<tr><td>{escape(image.id)}</td><td>{_number(image.region)}</td><td>{_number(image.softmin)}</td>"
        f"<td>{_sample(image.out_of_sample)}</td></tr>"
        for image in result.images[:MAX_ROWS]
    )
    tiles = "".join(
        f"<figure>{embedded(draw.thumbnail(_overlay(folder, image.id), SIDE))}"
        f"<figcaption>{escape(image.id)}<br>{_number(getattr(image, result.rank))}</figcaption></figure>"
        for image in result.images[:MAX_IMAGES]
    )
    body = f"""<h1>{escape(name)} {escape(result.split)}: label errors</h1>
<p>{counted(len(result.images), "image")}, by {escape(", ".join(Path(model).name for model in result.models))}.
Probabilities are {escape(result.sample_note)}.</p>
<p>Each object is shown as image, labels, and labels as the model suggests them. The model may be wrong: look before you change.</p>
<p>{legend}</p>
{sections}
<h2>Images with the most doubtful labels</h2>
<p>The probability that the model gives to the labels, from 0, wrong, to 1, right. Region: its mean in the worst window, a twentieth
of the image wide. Softmin: of single pixels. Sorted by {result.rank}.</p>
<div class="examples">{tiles}</div>
<details><summary>the first {min(MAX_ROWS, len(result.images)):,} of {counted(len(result.images), "image")}</summary>
<div class="scroll"><table><thead><tr><th>image</th><th>region</th><th>softmin</th><th>sample</th></tr></thead>
<tbody>{rows}</tbody></table></div></details>"""
    write_text(path, page(f"{name}: label errors", body))


def _section(kind: Kind, found: int, shown: list[LabelError], folder: VocFolder) -> str:
    text = KINDS[kind]
    more = f", of which {len(shown):,} are shown" if len(shown) < found else ""
    figures = "".join(_figure(error, folder) for error in shown)
    return f"""<h2>{text[0].upper()}{text[1:]}: {found:,}{more}</h2><div class="examples">{figures}</div>"""


def _number(score: float | None) -> str:
    return "-" if score is None else f"{score:.4f}"


def _sample(out_of_sample: bool | None) -> str:
    return {True: "out", False: "in", None: "unknown"}[out_of_sample]


def _overlay(folder: VocFolder, name: str) -> Image.Image:
    return draw.overlay(read_image(folder.image(name)), read_mask(folder.mask(name)))


def _figure(error: LabelError, folder: VocFolder) -> str:
    """Show a crop around an object: image, labels, labels as suggested."""
    image, mask = read_image(folder.image(error.id)), read_mask(folder.mask(error.id))
    changed = torch.from_numpy(suggested_mask(mask.numpy(), [error], folder.classes))
    rows, columns = _crop(error, mask)
    cut = image[:, rows, columns].contiguous()
    plain = Image.fromarray(np.ascontiguousarray(cut.permute(1, 2, 0).numpy()))
    views = [plain, *(draw.overlay(cut, labels[rows, columns].contiguous()) for labels in (mask, changed))]
    images = "".join(embedded(draw.thumbnail(view, SIDE)) for view in views)
    text = f"{error.label} → {error.suggested}, doubt {error.doubt:.2f}, {counted(error.area, 'pixel')}"
    return f"<figure>{images}<figcaption>{escape(error.id)}<br>{escape(text)}</figcaption></figure>"


def _crop(error: LabelError, mask: Tensor) -> tuple[slice, slice]:
    """Return rows and columns of an object with what is around it."""
    left, top, width, height = error.box
    margin = max(16, max(width, height) // 3)
    return (
        slice(max(0, top - margin), min(mask.shape[0], top + height + margin)),
        slice(max(0, left - margin), min(mask.shape[1], left + width + margin)),
    )
