"""Time reading and training transforms against torchvision's reference presets, on one core and real images.

    python benchmarks/transforms.py FOLDER_WITH_VOCdevkit

The presets are those of references/segmentation/presets.py: Pillow decodes, v2 transforms work on Pillow images.
vocseg's crops stay uint8, since its networks normalize them.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings

import torch
from PIL import Image
from torchvision import tv_tensors
from torchvision.transforms import v2

from vocseg.data.dataset import SplitDataset
from vocseg.data.layout import VocFolder
from vocseg.data.transforms.geometry import training_transform
from vocseg.models.info import IMAGENET_MEAN, IMAGENET_STD
from vocseg.utils.system import machine

BASE, CROP = 520, 480


def reference() -> v2.Compose:
    """SegmentationPresetTrain with the Pillow backend."""
    kinds = {tv_tensors.Mask: torch.int64, torch.Tensor: torch.float32, "others": None}
    return v2.Compose(
        [
            v2.RandomResize(min_size=int(0.5 * BASE), max_size=int(2.0 * BASE)),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomCrop(CROP, pad_if_needed=True, fill={tv_tensors.Mask: 255, "others": 0}),
            v2.PILToTensor(),
            v2.ToDtype(kinds | {tv_tensors.Image: torch.float32}, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            v2.ToPureTensor(),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--split", default="train")
    parser.add_argument("--images", type=int, default=150)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", DeprecationWarning)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    ours = SplitDataset(VocFolder.find(arguments.data), arguments.split, training_transform("scale-crop", CROP))
    theirs = reference()

    def read_theirs(index: int) -> object:
        name = ours.names[index]
        image = Image.open(ours.folder.image(name)).convert("RGB")
        mask = tv_tensors.Mask(v2.functional.pil_to_tensor(Image.open(ours.folder.mask(name))))
        return theirs(image, mask)

    ways = {"vocseg": lambda index: ours[index, index], "torchvision": read_theirs}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for index in range(min(arguments.images, len(ours))):
        for name, way in ways.items():
            start = time.perf_counter()
            way(index)
            times[name].append(time.perf_counter() - start)
    for name, seconds in times.items():
        print(f"{name:12} {1000 * statistics.mean(seconds):6.2f} ms per sample (median {1000 * statistics.median(seconds):.2f})")
    ratio = sum(times["torchvision"]) / sum(times["vocseg"])
    print(f"vocseg is {ratio:.2f}x as fast; {CROP}x{CROP} crops of {len(times['vocseg'])} images, one core, on {machine()}")


if __name__ == "__main__":
    main()
