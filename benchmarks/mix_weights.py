"""Average the weights of model files of one network into a new model file, with large layers as int8, like vocseg-s.

    python benchmarks/mix_weights.py model.safetensors=0.15 average.safetensors=0.6 before.safetensors=0.25 --out
    m.safetensors

Weights of one training run, and of runs continued from it, average well (Wortsman et al., "Model soups", 2022). Choose
the shares by `vocseg evaluate m.safetensors` on a validation split. The scores in the files are dropped.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from vocseg.models import SegmentationModel, create_model, save_model


def mixed(models: list[SegmentationModel], shares: list[float]) -> SegmentationModel:
    """Replace the weights of the first model by the weighted mean of all; integers stay those of the first."""
    first, *others = models
    state = first.network.state_dict()
    states = [model.network.state_dict() for model in others]
    for name, value in state.items():
        if value.is_floating_point():
            parts = [value, *(other[name] for other in states)]
            value.copy_(sum(share * part for share, part in zip(shares, parts, strict=True)))
    first.info = replace(first.info, scores={})
    return first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE=SHARE")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    files, shares = zip(
        *((name, float(share)) for name, _, share in (text.rpartition("=") for text in arguments.files)), strict=True
    )
    if abs(sum(shares) - 1) > 1e-6:
        parser.error(f"the shares add up to {sum(shares):g}, not 1")
    save_model(arguments.out, mixed([create_model(name) for name in files], list(shares)), compact=True)


if __name__ == "__main__":
    main()
