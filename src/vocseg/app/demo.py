"""The demo: segment the sample photographs, train on synthetic data, show both on one page."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from vocseg import draw
from vocseg.data.dataset import SplitDataset
from vocseg.data.image_io import open_image, read_mask
from vocseg.data.layout import VocFolder
from vocseg.data.samples import photographs as sample_photographs
from vocseg.data.synthetic import write_synthetic
from vocseg.errors import OutputError
from vocseg.evaluation.evaluate import evaluate_split as evaluate
from vocseg.evaluation.result import Evaluation
from vocseg.inference.segmenter import Segmentation, Segmenter
from vocseg.training.api import train
from vocseg.training.run_folder import RunFolder
from vocseg.utils.files import refuse_to_replace, replacing, writable_folder, write_text
from vocseg.utils.html import embedded, page, swatch
from vocseg.utils.system import machine
from vocseg.utils.text import percent

DATA, RUN, PHOTOGRAPHS = "synthetic_data", "synthetic_run", "photographs"
"""Folders in the output folder."""
REPEATS = 3
"""How often each photograph is segmented, to time it."""
SIDE = 420
"""Longest side of an image on the page, pixels."""
PREDICTIONS = 4
"""Synthetic images on the page."""


class Photograph(NamedTuple):
    """A sample photograph, its ground truth as an overlay, and the seconds of the first and the fastest prediction."""

    name: str
    result: Segmentation
    ground_truth: Image.Image
    first: float
    seconds: float


class Trained(NamedTuple):
    """A network trained on synthetic data: its run, the seconds of training, its score, overlays of predictions."""

    run: RunFolder
    seconds: float
    score: Evaluation
    predictions: list[Image.Image]


def begin(out: Path, json: Path | None = None) -> None:
    """Make the folder ``out``; raise OutputError if it has files of the demo's names that no demo wrote."""
    page_file = out / "index.html"
    refuse_to_replace([page_file, json])
    taken = [out / name for name in (DATA, RUN, PHOTOGRAPHS) if (out / name).exists()]
    if taken and not page_file.exists():
        raise OutputError(f"cannot write {taken[0]}: it exists, and no demo wrote it; choose another --out")
    write_text(writable_folder(out) / page_file.name, page("vocseg demo", "<p>The demo has not finished.</p>"))


def photographs(segmenter: Segmenter, out: Path) -> list[Photograph]:
    """Segment the sample photographs, and write them, their masks and overlays to ``out``."""
    dataset = sample_photographs()
    folder = dataset.folder
    found = []
    for name in dataset.names:
        first, *repeats = (segmenter(folder.image(name)) for _ in range(REPEATS))
        mask = read_mask(folder.mask(name), len(folder.classes))
        ground_truth = draw.overlay(first.image, mask, segmenter.info.palette)
        found.append(Photograph(name, first, ground_truth, first.seconds, min(result.seconds for result in repeats)))
        with replacing(out / folder.image(name).name) as temporary:
            shutil.copyfile(folder.image(name), temporary)
        first.save(out / f"{name}.png")
        first.save(out / f"{name}_overlay.jpg")
    return found


def score(segmenter: Segmenter) -> Evaluation:
    """Score the model on the sample photographs."""
    return evaluate(segmenter, sample_photographs(), workers=0)


def train_synthetic(out: Path, **changes: Any) -> Trained:
    """Write a synthetic data set, train the recipe ``synthetic`` on it, and segment some of its validation images.

    Replaces those of an earlier demo in ``out``. ``changes`` replace settings of the recipe.
    """
    for part in (DATA, RUN):
        shutil.rmtree(out / part, ignore_errors=True)
    data = out / DATA
    write_synthetic(data)
    start = time.perf_counter()
    run = train(data, config="synthetic", out=out / RUN, **changes).run
    seconds = time.perf_counter() - start
    segmenter = Segmenter(str(run.best))
    val = SplitDataset(VocFolder.find(data), "val")
    predictions = [segmenter(val.folder.image(name)).overlay() for name in val.names[:PREDICTIONS]]
    return Trained(run, seconds, evaluate(segmenter, val, workers=0), predictions)


def write_demo_page(
    path: Path, segmenter: Segmenter, shown: Sequence[Photograph], scored: Evaluation, trained: Trained | None
) -> None:
    """Write the page atomically; it needs no other file."""
    figures = "\n".join(_figure(photograph) for photograph in shown)
    info = segmenter.info
    legend = " ".join(
        f'<span class="name">{swatch(color)}{escape(name)}</span>' for name, color in zip(info.classes, info.palette, strict=True)
    )
    body = f"""<h1>vocseg</h1>
<p>{escape(machine())}</p>
<h2>Photographs, segmented by {escape(info.architecture)}</h2>
<p>Left: prediction. Right: masks drawn by hand. {percent(scored.pixel_accuracy)} % of the pixels have the right class.</p>
{figures}
<p>{legend}</p>
{"" if trained is None else _training(trained)}"""
    write_text(path, page("vocseg demo", body))


def _figure(photograph: Photograph) -> str:
    result = photograph.result
    colors = dict(zip(result.info.classes, result.info.palette, strict=True))
    tinted = draw.overlay(result.image, result.mask, result.info.palette)
    areas = "".join(
        f"<tr><td>{swatch(colors[name])}{escape(name)}</td><td>{share:.1%}</td></tr>" for name, share in result.areas().items()
    )
    height, width = result.mask.shape
    times = f"{1000 * photograph.seconds:.0f} ms from file to mask ({1000 * photograph.first:.0f} ms the first time)"
    return f"""<section><h3>{escape(photograph.name)}</h3>
<p>{height}x{width} pixels: {times}</p>
<div class="examples">{embedded(draw.thumbnail(tinted, SIDE))}{embedded(draw.thumbnail(photograph.ground_truth, SIDE))}
<table><thead><tr><th>class</th><th>area</th></tr></thead><tbody>{areas}</tbody></table></div></section>"""


def _training(trained: Trained) -> str:
    images = "".join(embedded(draw.thumbnail(image, SIDE)) for image in trained.predictions)
    with open_image(trained.run.curves) as curves:
        drawn = embedded(curves)
    return f"""<h2>Training on synthetic data</h2>
<p>A small U-Net from scratch, {trained.seconds:.0f} s: mIoU {percent(trained.score.miou)} % on
{trained.score.images} validation images.</p>
<figure>{drawn}</figure>
<div class="examples">{images}</div>"""
