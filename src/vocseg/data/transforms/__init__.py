"""Transforms of training samples: an image, its mask and its extra maps together.

A transform takes a :class:`vocseg.data.dataset.Sample` and a ``torch.Generator`` and returns a sample; all its
randomness comes from the generator, so that a run can be repeated and resumed exactly. :func:`from_v2` adapts those of
torchvision.
"""

from vocseg.data.transforms.color import ColorJitter
from vocseg.data.transforms.geometry import CenterSquare, Compose, RandomFlip, RandomScaleCrop
from vocseg.data.transforms.mixing import CopyPaste, Mixing
from vocseg.data.transforms.torchvision_v2 import from_v2

__all__ = ["CenterSquare", "ColorJitter", "Compose", "CopyPaste", "Mixing", "RandomFlip", "RandomScaleCrop", "from_v2"]
