"""Where the results of ``predict`` go: masks, overlays, cut-outs, probabilities, areas; polygons are in another module.

A sink of your own is a subclass of :class:`Sink`, passed to ``predict`` in ``formats``.
"""

from __future__ import annotations

import csv
import json
import math
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
from PIL import Image

from vocseg import draw, voc
from vocseg.inference.result import Segmentation
from vocseg.inference.sources import Item
from vocseg.models import ModelInfo
from vocseg.utils.files import AREAS_HEAD, MARK, replacing

if TYPE_CHECKING:
    from vocseg.inference.tiles import TiledSegmentation

MASK, OVERLAY = ".png", "_overlay.jpg"


class Sink:
    """Writes results below the folder ``out``, which exists before the first :meth:`write`.

    ``suffix``: what is added to an image's name for its file, if each image gets one, in the folder ``folder`` below
    ``out``. ``shared``: the file below ``out`` that all images share, if there is one; it is written by :meth:`close`.
    ``needs_logits``: whether probabilities are used, so that a result keeps what they are made of until it is written.
    ``owner``: a file below ``out`` that tells that vocseg wrote the files of all images, which themselves do not.
    """

    suffix: ClassVar[str] = ""
    folder: ClassVar[str] = ""
    shared: ClassVar[str] = ""
    owner: ClassVar[str] = ""
    needs_logits: ClassVar[bool] = False

    def __init__(self, out: Path, info: ModelInfo, opacity: float = voc.OPACITY) -> None:
        self.out, self.info, self.opacity = out, info, opacity
        self.is_complete = True
        """Whether the call came to its end; false when :meth:`close` follows an interruption."""

    @classmethod
    def path(cls, out: Path, item: Item) -> Path:
        """Return the file of an image below ``out``."""
        return out / cls.folder / f"{item.output}{cls.suffix}"

    def file(self, item: Item) -> Path:
        """Return the file of an image."""
        return self.path(self.out, item)

    def write(self, result: Segmentation, item: Item) -> None:
        """Write the result of an image of a source."""
        raise NotImplementedError

    def write_tiled(self, result: TiledSegmentation, item: Item) -> None:
        """Write the result of an image that was segmented in tiles; not every sink can, without all pixels at once."""
        raise NotImplementedError

    def close(self) -> None:
        """Write what is written once, after the last image."""


class MaskSink(Sink):
    """``NAME.png``: a palette PNG of class ids."""

    suffix = MASK

    def write(self, result: Segmentation, item: Item) -> None:
        result.save(self.file(item))

    def write_tiled(self, result: TiledSegmentation, item: Item) -> None:
        """Nothing: it was written strip by strip."""


class OverlaySink(Sink):
    """``NAME_overlay.jpg``: the image tinted with the mask's colors."""

    suffix = OVERLAY

    def write(self, result: Segmentation, item: Item) -> None:
        result.save(self.file(item), opacity=self.opacity)

    def write_tiled(self, result: TiledSegmentation, item: Item) -> None:
        result.overview.save(self.file(item), opacity=self.opacity)


class CutoutSink(Sink):
    """``NAME_cutout.png``: the image, transparent where the mask is background."""

    suffix = "_cutout.png"

    def write(self, result: Segmentation, item: Item) -> None:
        background = voc.background(result.classes)
        shown = np.ones(result.mask.shape, dtype=bool) if background is None else result.mask.numpy() != background
        pixels = np.dstack((result.image.permute(1, 2, 0).numpy(), shown.astype(np.uint8) * 255))
        draw.save_image(Image.fromarray(pixels), self.file(item), MARK)


class ProbabilitySink(Sink):
    """``NAME.npz``: ``probabilities``, float16, classes x H x W, and the names of the ``classes``."""

    suffix, needs_logits = ".npz", True

    def write(self, result: Segmentation, item: Item) -> None:
        values: dict[str, Any] = {MARK.decode(): np.array(item.relative.as_posix()), "classes": np.array(result.classes)}
        values["probabilities"] = result.probabilities().numpy().astype(np.float16)
        # np.savez_compressed, which takes three times as long for a tenth less
        with replacing(self.file(item)) as temporary, ZipFile(temporary, "w", ZIP_DEFLATED, compresslevel=1) as archive:
            for name, value in values.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, value, allow_pickle=False)


@contextmanager
def closing_sinks(sinks: Sequence[Sink]) -> Iterator[None]:
    """Close sinks after the block, each even if another fails; they learn whether the block came to its end."""
    with ExitStack() as stack:
        for sink in reversed(sinks):
            sink.is_complete = False
            stack.callback(sink.close)
        yield
        for sink in sinks:
            sink.is_complete = True


class CollectingSink(Sink):
    """A sink of one file, whose parts wait in a temporary file: results need no memory.

    ``entry`` makes of a result what ``put`` adds to the file, as JSON values: a shard writes entries to a file of its own, and
    :func:`vocseg.merge` puts those of all shards in the order of the images.
    """

    head = tail = ""

    def __init__(self, out: Path, info: ModelInfo, opacity: float = voc.OPACITY) -> None:
        super().__init__(out, info, opacity)
        self.count = 0
        self.entries_only = False
        """Whether the sink is that of a shard."""
        # backslashreplace: names of files may be no text.
        self._parts: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", errors="backslashreplace", newline="")  # noqa: SIM115

    def entry(self, result: Any, item: Item) -> Any:
        """Return what the file says of an image, in one piece or in tiles, as JSON values."""
        raise NotImplementedError

    def put(self, entry: Any) -> None:
        """Add an image's entry to the file."""
        raise NotImplementedError

    def write(self, result: Any, item: Item) -> None:
        entry = self.entry(result, item)
        if self.entries_only:
            self.add(f"{item.place} {json.dumps(entry)}\n")
        else:
            self.put(entry)

    def write_tiled(self, result: TiledSegmentation, item: Item) -> None:
        self.write(result, item)

    def add(self, text: str) -> None:
        self._parts.write(text)

    def entries(self) -> list[tuple[int, Any]]:
        """Return the entries of a shard, each with the position of its image."""
        self._parts.seek(0)
        return [(int(place), json.loads(entry)) for place, entry in (line.split(" ", 1) for line in self._parts)]

    def close(self) -> None:
        if not self.entries_only:
            self.save(self.out / self.shared)
        self._parts.close()

    def save(self, path: Path) -> None:
        """Write what was added to a file."""
        with replacing(path) as temporary:
            self._parts.seek(0)
            with open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
                file.write("" if self.entries_only else self.head)
                shutil.copyfileobj(self._parts, file)
                file.write("" if self.entries_only else self.tail)


class AreaSink(CollectingSink):
    """``areas.csv``: pixels of each class in each image, and their share of it, 0..1."""

    shared = "areas.csv"
    head = AREAS_HEAD.decode()

    def entry(self, result: Segmentation | TiledSegmentation, item: Item) -> Any:
        if isinstance(result, Segmentation):
            areas, pixels = result.areas(), result.mask.numel()
        else:
            areas, pixels = result.areas, math.prod(result.size)
        name, ids = item.relative.as_posix(), self.info.classes
        return [(name, label, ids.index(label), round(share * pixels), f"{share:.6g}") for label, share in areas.items()]

    def put(self, entry: Any) -> None:
        csv.writer(self._parts).writerows(entry)
