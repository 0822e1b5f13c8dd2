"""Segment photographs with vocseg-s and put them side by side, each with a legend of its classes.

python benchmarks/gallery.py cat.jpg man.jpg --out docs/vocseg-s.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from vocseg import Segmenter, draw

HEIGHT = 320
"""Height of each photograph, pixels."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", nargs="+", type=Path)
    parser.add_argument("--model", default="vocseg-s")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    segmenter = Segmenter(arguments.model)
    tiles = []
    for path in arguments.photographs:
        result = segmenter(path)
        colors = dict(zip(result.info.classes, result.info.palette, strict=True))
        tinted = draw.overlay(result.image, result.mask, result.info.palette)
        small = tinted.resize((round(tinted.width * HEIGHT / tinted.height), HEIGHT), Image.Resampling.LANCZOS)
        rows = [(f"{name} {share:.0%}", colors[name]) for name, share in result.areas().items() if share >= 0.005]
        tiles.append(draw.legend(small, rows))
    draw.save_image(draw.side_by_side(tiles), arguments.out)


if __name__ == "__main__":
    main()
