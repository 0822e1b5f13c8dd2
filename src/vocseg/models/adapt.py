"""Wrap a user's own network in the interface of all networks."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from torch import nn

from vocseg.models.base import SegmentationModel
from vocseg.models.info import ModelInfo


def adapt(network: nn.Module, info: ModelInfo, class_layers: Sequence[str] = ()) -> SegmentationModel:
    """Wrap a network, which stays as it is, in the interface of all networks.

    Networks built with segmentation_models_pytorch or torchvision get their padding, backbone and class layers.
    ``class_layers`` names the layers with one output per class if they cannot be known.

    >>> model = adapt(nn.Conv2d(3, 2, 1), ModelInfo("one_layer", ("background", "cat")))
    >>> model.class_names, model.backbone_parameters()
    (('background', 'cat'), [])
    """
    if isinstance(network, SegmentationModel):
        return network
    # A network of a library that has not been imported cannot be one of that library's.
    smp, torchvision = (sys.modules.get(name) for name in ("segmentation_models_pytorch", "torchvision.models.segmentation"))
    if smp is not None and isinstance(network, smp.base.SegmentationModel):
        from vocseg.models.zoo.smp import adapt_smp

        return adapt_smp(network, info)
    if torchvision is not None and isinstance(network, torchvision.FCN | torchvision.DeepLabV3 | torchvision.LRASPP):
        from vocseg.models.zoo.torchvision import adapt_torchvision

        return adapt_torchvision(network, info)
    return SegmentationModel(network, info, tuple(class_layers))
