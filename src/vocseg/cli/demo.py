"""``vocseg demo``."""

from __future__ import annotations

from pathlib import Path

from vocseg.cli.options import Json


def demo(*, out: Path = Path("demo"), train: bool = True, json: Json = None) -> None:
    """Show what vocseg does, in about a minute, without a download.

    Segment the sample photographs with vocseg-s and score them, train a small network on synthetic data, and write one
    HTML page with the results.

    ```
    vocseg demo --no-train --out look
    ```

    Args:
        out: Output folder for the page, masks, overlays, synthetic data and training run. Files of an earlier demo are
            replaced.
        train: Train on synthetic data.
    """
    from vocseg.app.demo import PHOTOGRAPHS, begin, photographs, score, train_synthetic, write_demo_page
    from vocseg.cli.console import say
    from vocseg.inference.segmenter import Segmenter
    from vocseg.utils.files import writable_folder, write_json
    from vocseg.utils.text import percent, shares

    begin(out, json)
    segmenter = Segmenter()
    say("1. sample photographs")
    shown = photographs(segmenter, writable_folder(out / PHOTOGRAPHS))
    for photograph in shown:
        areas = ", ".join(shares(photograph.result.areas()))
        say(f"   {photograph.name}: {areas} ({1000 * photograph.seconds:.0f} ms)")
    scored = score(segmenter)
    say(f"   compared with masks drawn by hand: {percent(scored.pixel_accuracy)} % of the pixels have the right class")
    trained = None
    if train:
        say("2. training a small network on synthetic data")
        trained = train_synthetic(out)
        say(f"   mIoU {percent(trained.score.miou)} % on validation images after {trained.seconds:.0f} s")
    write_demo_page(out / "index.html", segmenter, shown, scored, trained)
    say(f"page: {out / 'index.html'}")
    if json is not None:
        rows = [{"image": p.name, "seconds": round(p.seconds, 4), "areas": p.result.areas()} for p in shown]
        synthetic = None if trained is None else trained.score.to_dict() | {"training_seconds": round(trained.seconds, 1)}
        write_json(json, {"photographs": rows, "score": scored.to_dict(), "synthetic": synthetic})
