"""What a Segmenter returns for one image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image
from torch import Tensor

from vocseg import draw, voc
from vocseg.errors import OutputError, SettingError
from vocseg.models import ModelInfo
from vocseg.ops.low_res_logits import LowResLogits
from vocseg.utils.files import MARK, refuse_to_replace, write_json
from vocseg.utils.text import shares

if TYPE_CHECKING:
    from vocseg.convert.outlines import Part

Kind = Literal["mask", "overlay", "polygons"]

KINDS: dict[str, Kind] = {".png": "mask", ".jpg": "overlay", ".jpeg": "overlay", ".json": "polygons"}
"""What :meth:`Segmentation.save` writes, by suffix."""


@dataclass(frozen=True)
class Segmentation:
    """An image and its mask.

    ``image``: uint8 RGB, 3 x H x W. ``mask``: uint8 class ids, H x W. ``info``: the model. ``source``: the image's
    file or address, if it came from one; of a member of an archive, or a page, the file's path and its name, or number.
    ``seconds``: time from the file or pixels to the mask; for an image of a batch, an equal share of its batch's.
    ``network_size``: height and width at which the network saw the image. ``notes``: how the file was read, if that may
    surprise.

    >>> import vocseg
    >>> from vocseg.data.samples import FOLDER
    >>> result = vocseg.Segmenter(device="cpu")(FOLDER / "JPEGImages" / "chelsea.jpg")
    >>> result.mask.shape, list(result.areas()), result.polygons()[0]["class"]
    (torch.Size([300, 451]), ['cat', 'background'], 'cat')
    >>> result.probabilities().shape
    torch.Size([21, 300, 451])
    """

    image: Tensor
    mask: Tensor
    info: ModelInfo
    source: Path | str | None = None
    seconds: float = 0.0
    _logits: Callable[[], LowResLogits] | None = field(default=None, repr=False, compare=False)
    network_size: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        height, width = self.mask.shape
        found = shares(self.areas())
        more = [f"{len(found) - 4} more"] if len(found) > 4 else []
        return f"Segmentation({height}x{width} pixels by {self.info.architecture}: {', '.join(found[:4] + more)})"

    @property
    def shrunk(self) -> bool:
        """Whether the network saw the image smaller than it is."""
        return self.network_size is not None and self.network_size[0] < self.mask.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.mask.shape[0], self.mask.shape[1]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their ids."""
        return self.info.classes

    def areas(self) -> dict[str, float]:
        """Return the share of the image, 0..1, of each class found, largest first."""
        counts = Image.fromarray(self.mask.cpu().numpy()).histogram()  # needs no memory, as bincount does
        found = [(name, count / self.mask.numel()) for name, count in zip(self.classes, counts, strict=False) if count]
        return dict(sorted(found, key=lambda row: -row[1]))

    def probabilities(self) -> Tensor:
        """Return the class probabilities of each pixel: float32, classes x H x W, the softmax of the logits.

        The logits are divided by the model's temperature, if one was fitted (`vocseg evaluate --fit-temperature`).

        Results of lists and streams do not keep logits: the network runs again.
        """
        if self._logits is None:
            raise ValueError("a Segmentation that no Segmenter made has no probabilities")
        return (self._logits().full()[0] / self.info.temperature).softmax(0).cpu()

    def regions(self) -> dict[int, list[Part]]:
        """Return the connected regions of every class, background too, by id: ``outline``, ``holes`` (N x 2; x, y), ``area``."""
        from vocseg.convert.outlines import trace  # brings twenty modules with it

        return trace(self.mask.cpu().numpy())

    def polygons(self, simplify: float = 0.0) -> list[dict[str, Any]]:
        """Return the connected regions of every class except background, ready for JSON, largest first.

        Each is a dict of ``class``, ``id``, ``area`` in pixels, ``polygon`` and ``holes``: lists of corners [x, y]
        along pixel edges, (0, 0) the image's upper left corner. Filling a polygon without its holes gives exactly the
        region's pixels. ``simplify``: leave out corners; borders move by so many pixels at most, and neighbors keep common
        ones (:mod:`vocseg.convert.simplify`); ``area`` stays that of the mask.
        """
        from vocseg.inference.polygons import rows

        return rows(self, self.info, simplify)

    def overlay(self, opacity: float = voc.OPACITY) -> Image.Image:
        """Draw the image tinted with the mask's colors over a legend of the classes found; ``opacity``: of the tint, 0..1.

        A class called background is not tinted.
        """
        if not 0 <= opacity <= 1:
            raise SettingError(f"opacity {opacity} must lie in 0..1")
        tinted = draw.overlay(self.image, self.mask, self.info.palette, opacity, voc.background(self.classes))
        colors, areas = dict(zip(self.classes, self.info.palette, strict=True)), self.areas()
        return draw.legend(tinted, [(text, colors[name]) for text, name in zip(shares(areas), areas, strict=True)])

    def save(self, path: str | Path, kind: Kind | None = None, opacity: float = voc.OPACITY) -> None:
        """Write the mask (``.png``, with a palette), the overlay (``.jpg``) or the polygons (``.json``).

        ``kind`` writes an overlay with another suffix. Raises OutputError if the file cannot be written, or would replace
        the image or another file that vocseg did not write.
        """
        path = Path(path)
        refuse_to_replace([path], [self.source])
        kind = kind or KINDS.get(path.suffix.lower())
        if kind == "mask":
            draw.save_mask(self.mask, path, self.info.palette, MARK)
        elif kind == "overlay":
            draw.save_image(self.overlay(opacity), path, MARK)
        elif kind == "polygons":
            write_json(path, {"width": self.mask.shape[1], "height": self.mask.shape[0], "polygons": self.polygons()})
        else:
            raise OutputError(f"cannot write {path}: unknown suffix; use one of {', '.join(KINDS)}")

    def save_mask(self, path: str | Path) -> None:
        """Write the mask as a palette PNG; see :meth:`save`."""
        self.save(path, "mask")
