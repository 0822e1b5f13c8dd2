"""A drop-in for torchvision.datasets.VOCSegmentation that yields tv_tensors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import Dataset

from vocseg import voc
from vocseg.data.dataset import SplitDataset
from vocseg.data.image_io import open_image
from vocseg.data.layout import VocFolder
from vocseg.errors import DataError, SettingError
from vocseg.utils.arguments import checked


class VOCDataset(Dataset[tuple[Any, Any]]):
    """The images and masks of one split of a VOC-layout folder.

    Takes the arguments of :class:`torchvision.datasets.VOCSegmentation`, by keyword or by position; the second position
    may also be the split itself::

        VOCDataset("data", "train", transforms=v2_transforms)
        VOCDataset("data", year="2012", image_set="val", download=True)

    Items are ``(tv_tensors.Image, tv_tensors.Mask)``: uint8 RGB, 3 x H x W, upright, and uint8 class ids, H x W, 255 =
    void. ``transforms`` (torchvision.transforms.v2) gets these two. Like torchvision's class, ``transform`` and
    ``target_transform`` get the PIL image and the PIL mask, and so does a ``transforms`` that is not a v2 transform.

    ``root`` is the folder that holds ``VOCdevkit``, or ``VOCdevkit``, or one like ``VOC2012``; without a ``year`` the
    newest is taken. ``mask_dir`` is the folder of the masks, such as ``SegmentationClassAug``. ``download`` downloads
    VOC of the year (2012) unless it is there. Raises DataError if there is no such folder or split, if an id has no
    image or no mask, and, when an item is read, for an unreadable file, a label that is not a class, and an image and a
    mask of different size.

    >>> from torchvision.transforms import v2
    >>> from vocseg.data.samples import FOLDER
    >>> dataset = VOCDataset(FOLDER, "samples", transforms=v2.RandomCrop(96))
    >>> image, mask = dataset[0]
    >>> type(image).__name__, tuple(image.shape), type(mask).__name__, tuple(mask.shape)
    ('Image', (3, 96, 96), 'Mask', (96, 96))
    >>> dataset.classes[:3], dataset.palette[1]
    (('background', 'aeroplane', 'bicycle'), (128, 0, 0))
    """

    palette = voc.PALETTE
    """RGB colors of the labels 0 to 255."""

    @checked
    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        image_set: str | None = None,
        download: bool = False,
        transform: Callable[..., Any] | None = None,
        target_transform: Callable[..., Any] | None = None,
        transforms: Callable[..., Any] | None = None,
        *,
        year: str | None = None,
        mask_dir: str = voc.MASKS,
    ) -> None:
        if transforms is not None and (transform is not None or target_transform is not None):
            raise SettingError("transforms cannot be combined with transform or target_transform")
        if split in voc.YEARS:  # torchvision's second argument
            year, split = split, "train"
        if download:
            _download(root, year or "2012")
        self.root, self.year, self.image_set = Path(root).expanduser(), year, image_set or split
        self.transform, self.target_transform, self.transforms = transform, target_transform, transforms
        self.samples = SplitDataset(VocFolder.find(root, mask_dir, year), self.image_set)
        """The same split as :class:`vocseg.data.dataset.SplitDataset`."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their ids."""
        return self.samples.classes

    @property
    def images(self) -> list[str]:
        """The image files."""
        return [str(self.samples.folder.image(name)) for name in self.samples.names]

    @property
    def masks(self) -> list[str]:
        """The mask files."""
        return [str(self.samples.folder.mask(name)) for name in self.samples.names]

    targets = masks  # torchvision's name for them

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        return f"VOCDataset({str(self.root)!r}, {self.image_set!r}: {len(self)} images, {len(self.classes)} classes)"

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        # torchvision takes a second to import: whoever reads an item needs it, but not `import vocseg`.
        from torchvision.transforms import v2
        from torchvision.tv_tensors import Image as TVImage
        from torchvision.tv_tensors import Mask as TVMask

        sample = self.samples.read(index)
        joint = self.transforms
        if self.transform is None and self.target_transform is None and (joint is None or isinstance(joint, v2.Transform)):
            pair = TVImage(sample.image), TVMask(sample.mask)
            return pair if joint is None else joint(*pair)
        image: Any = Image.fromarray(sample.image.permute(1, 2, 0).numpy())
        with open_image(self.samples.folder.mask(sample.name)) as opened:
            mask: Any = opened.copy()
        if joint is not None:
            return joint(image, mask)
        if self.transform is not None:
            image = self.transform(image)
        return image, mask if self.target_transform is None else self.target_transform(mask)


def _download(root: str | Path, year: str) -> None:
    from vocseg.download.voc import download

    try:
        VocFolder.find(root, year=year)
    except DataError:
        download(root, year)
