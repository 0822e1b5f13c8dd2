"""``vocseg predict``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from vocseg.cli.console import log_to_terminal, say, terminal
from vocseg.cli.options import (
    Actors,
    Classes,
    Flag,
    JsonOutput,
    Network,
    Output,
    Positive,
    RayAddress,
    Seconds,
    ShardOf,
    check_network,
    class_names,
)
from vocseg.cli.sharded import find_shard, ray_cluster, run_sharded
from vocseg.data.color_table import read_colors
from vocseg.inference.options import TRAITS, check_formats, check_reading, check_tiles, default_formats
from vocseg.inference.predictions import NAMED, Format, Predictions
from vocseg.inference.sources import STDIN, find_images
from vocseg.inference.watch import watched_folder
from vocseg.utils.text import counted, shares
from vocseg.utils.urls import is_remote
from vocseg.voc import OPACITY

SHOWN = 20
"""Images, and skipped ones, that are listed."""


def predict(
    images: list[str],
    /,
    *,
    model: str = "vocseg-s",
    out: Output = Path("predictions"),
    overlay: bool | None = None,
    opacity: Annotated[float, Parameter(validator=Number(gte=0, lte=1))] = OPACITY,
    palette: Path | None = None,
    frames: Flag = False,
    stride: Positive = 1,
    start: Seconds = 0.0,
    end: Seconds | None = None,
    every: Seconds | None = None,
    tile: Positive | None = None,
    overlap: Annotated[int | None, Parameter(validator=Number(gte=0))] = None,
    formats: Annotated[list[Format] | None, Parameter(name="--format", negative=())] = None,
    simplify: Annotated[float, Parameter(validator=Number(gte=0))] = 0.0,
    skip_existing: Flag = False,
    watch: Flag = False,
    shard: ShardOf = None,
    ray: RayAddress = None,
    actors: Actors = None,
    classes: Classes = None,
    network: Network = Network(),
    json: JsonOutput = None,
) -> None:
    """Segment images: write masks, overlays, polygons and more.

    Each image gets a mask (palette PNG of the image's size) and an overlay with a legend of the classes found.

    ```
    vocseg predict photo.jpg --model runs/deeplabv3_resnet101/best.safetensors
    vocseg predict holiday/ more/*.png --model deeplabv3_resnet101 --out masks --no-overlay --json areas.json
    vocseg predict photos.zip images.csv scan.tif https://example.org/photo.jpg
    vocseg predict aerial.tif slide.png --tile 512
    find . -name "*.jpg" | vocseg predict -
    vocseg predict holiday/ --format mask --format coco --format areas
    vocseg predict aerial.tif --tile 512 --format mask --format geojson --simplify 1
    vocseg predict holiday/ --skip-existing
    vocseg predict --watch incoming/ --skip-existing
    vocseg predict photos/ --out masks --skip-existing --shard 1/8
    vocseg predict s3://bucket/photos/ --out s3://bucket/masks --skip-existing
    vocseg predict photos/ --out masks --ray local
    vocseg predict clip.mp4 --start 0:10 --end 0:20
    vocseg predict clip.mp4 --format overlay --format mask-video
    ```

    Args:
        images: Image files, folders that are searched for images, glob patterns, lists (.txt, or the first column of a
            .csv), archives (.zip, .tar, .tar.gz), URLs of these (s3://, gs://, hf://, zip://, ...; https:// of an image), videos,
            cameras (0), streams (rtsp://), and `-` for standard input (an image or a list).
        model: Model file, its URL, or name. vocseg-s is included in the package.
        out: Output folder, or its URL, for NAME.png (mask) and NAME_overlay.jpg.
        overlay: Write overlays besides masks; default: yes. Not with --format, which names all that is written.
        opacity: Opacity of the overlays' colors, 0 to 1.
        palette: File with other colors for classes: lines `name r g b`.
        frames: Segment each frame of animations (GIF, WebP, PNG, AVIF), not only the first. Of TIFF, each page is taken.
        stride: Of a video, segment every N-th frame.
        start: Of a video, from this time on: seconds, as 90, 1.5s or 1:30.
        end: Of a video, up to this time.
        every: Of a video, at most one frame in so much time, e.g. 1s.
        tile: Segment images at their full size, in tiles of at most so many pixels a side, in bounded memory: for aerial
            images and microscopy, not for photographs. 512 suits most networks. TIFF gives NAME.tif. Needs the extra
            `tiles` for images above --max-pixels; TIFF files above it are segmented in tiles anyway.
        overlap: Pixels that tiles have in common, at least. Default: a quarter of a tile.
        formats: What to write, repeatable. Default: mask and overlay. mask-video: all masks of a video in one lossless file.
            cutout: the image, transparent where it is background. probabilities: float16, .npz. areas: CSV. The others are
            polygons.
        simplify: Leave out corners of polygons: borders move by so many pixels at most, and neighbors keep common borders. 1
            leaves a fifth of the corners. A line says what it cost.
        skip_existing: Do not segment images whose files of an earlier call are complete.
        watch: Segment what is in a folder and what arrives there, until Ctrl-C.
    """
    part = find_shard(shard, out)
    kinds = [TRAITS[name] for name in dict.fromkeys(formats or default_formats(overlay))]
    # All that can be found before torch is imported.
    check_formats(kinds, overlay=overlay, opacity=opacity, simplify=simplify, skip_existing=skip_existing, sharded=part is not None)
    check_tiles(kinds, tile, overlap, network.max_short_side, skip_existing)
    check_reading(stride, start, end, every)
    check_network(network, model)
    if palette is not None:
        read_colors(palette)
    if watch:
        watched_folder(images)
    elif not any(image in STDIN or is_remote(image) for image in images):
        find_images(images, None if is_remote(out) else Path(out))
    from vocseg.inference.augment import cost_line
    from vocseg.inference.predict import predict as run

    log_to_terminal()
    cluster = ray_cluster(ray, actors)
    done: list[Predictions] = []

    def segment(device: Any, file: str | Path | None) -> Predictions:
        result = run(
            images, out, model=model, classes=class_names(classes), overlay=overlay, opacity=opacity, palette=palette,
            frames=frames, stride=stride, start=start, end=end, every=every, tile=tile, overlap=overlap, formats=formats,
            simplify=simplify, skip_existing=skip_existing, watch=watch, shard=part and str(part), cluster=cluster, json=file,
            title="predict", **asdict(network) | {"device": device},
        )  # fmt: skip
        done.append(result)
        if network.tta != "none":
            say(cost_line(network.tta))
        own = [kind.name for kind in kinds if part is None or not kind.shared]  # merge writes the others
        _show(result, f"{' and '.join(map('{}s'.format, own)) if formats is None else ', '.join(own)} in {out}" if own else "")
        if result.simplified is not None:
            say(str(result.simplified))
        return result

    run_sharded(segment, lambda result: len(result.images) + result.existing, shard, out, network.device, json)
    result = done[0]
    if watch:  # skipped images were named when they arrived
        say(*([f"{counted(len(result.errors), 'image')} skipped"] if result.errors else []))
    else:
        is_listed = len(result.errors) > NAMED
        _list("skipped", [str(error) for error in result.errors.values()] if is_listed else [])
        result.check(0 if is_listed else NAMED)


def _show(result: Predictions, written: str) -> None:
    from rich.table import Column, Table

    if result.images:
        table = Table("image", "classes found", Column("s", justify="right"), header_style="bold")
        for row in result.images[:SHOWN]:
            table.add_row(row.name, ", ".join(shares(row.areas)), f"{row.seconds:.2f}")
        terminal().print(table)
        more = f" ({len(result.images) - SHOWN} not shown)" if len(result.images) > SHOWN else ""
        say(f"{counted(len(result.images), 'image')}{more}{written and '; '}{written}")
    if result.existing:
        say(f"{counted(result.existing, 'image')} had results already (--skip-existing)")
    if shrunk := [row for row in result.images if row.network_size]:
        side = max(min(row.network_size or ()) for row in shrunk)
        say(
            f"{counted(len(shrunk), 'large image')}: the network saw a shorter side of {side} pixels, the masks have the images' "
            "sizes (--max-short-side N; 0: not shrunk)"
        )
    _list("note", [f"{row.image}: {note}" for row in result.images for note in row.notes])


def _list(what: str, lines: list[str]) -> None:
    say(*(f"{what}: {line}" for line in lines[:SHOWN]))
    if len(lines) > SHOWN:
        say(f"{what}: {len(lines) - SHOWN} more (--json names all)")
