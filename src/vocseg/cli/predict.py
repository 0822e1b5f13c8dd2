"""``vocseg predict``."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from vocseg import voc
from vocseg.cli.options import DeviceOption, EngineOption, ExactOption, JsonOption, PrecisionOption, WeightsOption
from vocseg.errors import DataError, InputError
from vocseg.utils.files import refuse_to_replace, writable_folder, write_json
from vocseg.utils.progress import progress
from vocseg.utils.text import counted, shares

NAMED = 10
"""Unreadable images that the error names."""


def predict(
    images: Annotated[list[Path], Parameter(help="Image files, and folders that are searched for images.")],
    /,
    *,
    model: str = "vocseg-s",
    out: Path = Path("predictions"),
    weights: WeightsOption = None,
    overlay: bool = True,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    engine: EngineOption = "auto",
    exact: ExactOption = False,
    json: JsonOption = None,
) -> None:
    """Segment images: write masks and overlays.

    Each image gets a mask (palette PNG of the image's size) and an overlay with a legend of the classes found.

    ```
    vocseg predict photo.jpg
    vocseg predict photo.jpg --model runs/deeplabv3_resnet101/best.safetensors
    vocseg predict holiday/ more/*.png --model deeplabv3_resnet101 --out masks --no-overlay --json areas.json
    ```

    Parameters
    ----------
    model
        Model file or name. vocseg-s is included in the package.
    out
        Output folder for NAME.png (mask) and NAME_overlay.jpg.
    overlay
        Write overlays.
    """
    files = _find_images(images, out)  # what is not there is told before torch is imported
    targets = _targets(files)
    named = (_mask, _overlay) if overlay else (_mask,)
    outputs = [name(out, target) for target in targets for name in named]
    refuse_to_replace([*outputs, json], [*(source for source, _ in files), model, weights])
    from vocseg import draw
    from vocseg.inference.segmenter import Segmenter
    from vocseg.models.registry import require_trained

    require_trained(model, weights)
    segmenter = Segmenter(model, weights=weights, device=device, precision=precision, exact=exact, engine=engine)
    writable_folder(out)
    results: list[dict[str, Any]] = []
    bad: dict[Path, DataError] = {}
    for (source, _), target in progress(zip(files, targets, strict=True), len(files), "predict"):
        start = time.perf_counter()
        try:
            result = segmenter(source)
        except DataError as error:  # the others shall not be lost to one bad file
            bad[source] = error
            continue
        seconds = time.perf_counter() - start
        mask = _mask(out, target)
        result.save_mask(mask)
        row = {"image": str(source), "mask": str(mask), "seconds": round(seconds, 4), "areas": result.areas()}
        if overlay:
            row["overlay"] = str(_overlay(out, target))
            draw.save_image(result.overlay(), _overlay(out, target))
        results.append(row)
    if len(files) == 1 and bad:
        raise bad[files[0][0]]
    shown = [str(relative) for source, relative in files if source not in bad]
    _print(shown, results, f"{'masks and overlays' if overlay else 'masks'} in {out}")
    if json is not None:
        left_out = [{"image": str(source), "error": str(error)} for source, error in bad.items()]
        write_json(json, {"model": model, "images": len(results), "predictions": results, "left_out": left_out})
    if bad:
        errors = "; ".join(str(error) for error in list(bad.values())[:NAMED])
        more = f"; and {len(bad) - NAMED} more (--json names all)" if len(bad) > NAMED else ""
        raise DataError(f"{len(bad)} of {counted(len(files), 'image')} left out: {errors}{more}")


def _mask(out: Path, target: Path) -> Path:
    return out / f"{target}.png"


def _overlay(out: Path, target: Path) -> Path:
    return out / f"{target}_overlay.jpg"


def _find_images(paths: list[Path], out: Path) -> list[tuple[Path, Path]]:
    """Pairs (file, its path below the folder it was found in); InputError for a path that is neither or an empty folder.

    What lies in ``out`` below a folder are predictions, not images.
    """
    found: list[tuple[Path, Path]] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in voc.IMAGE_SUFFIXES and file.is_file())
            if path.resolve() in out.resolve().parents:
                inside = [file for file in inside if out.resolve() not in file.resolve().parents]
            if not inside:
                raise InputError(f"folder {path} holds no images ({', '.join(voc.IMAGE_SUFFIXES)})")
            found += [(file, file.relative_to(path)) for file in inside]
        elif path.is_file():
            found.append((path, Path(path.name)))
        else:
            raise InputError(f"no image or folder {path}")
    return found


def _targets(files: list[tuple[Path, Path]]) -> list[Path]:
    """Output names without suffix: the image's own; where two would be the same, with its suffix and then a number."""
    stems = Counter(relative.with_suffix("") for _, relative in files)
    targets: list[Path] = []
    taken: set[Path] = set()
    for _, relative in files:
        target = relative.with_suffix("") if stems[relative.with_suffix("")] == 1 else relative
        number = 1
        while target in taken:
            number += 1
            target = relative.with_name(f"{relative.stem}-{number}")
        taken.add(target)
        targets.append(target)
    return targets


def _print(names: list[str], results: list[dict[str, Any]], written: str, limit: int = 20) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(header_style="bold")
    table.add_column("image")
    table.add_column("classes found")
    table.add_column("s", justify="right")
    for name, row in list(zip(names, results, strict=True))[:limit]:
        table.add_row(escape(name), escape(", ".join(shares(row["areas"]))), f"{row['seconds']:.2f}")
    console = Console()
    console.print(table)
    more = f" ({len(results) - limit} not shown)" if len(results) > limit else ""
    console.print(f"{counted(len(results), 'image')}{more}; {written}", markup=False, highlight=False, soft_wrap=True)
