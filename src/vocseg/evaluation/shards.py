"""What a shard of a split is made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vocseg.data.dataset import SplitDataset
from vocseg.utils.shards import Manifest, Shard, stamps


def split_manifest(
    verb: str, shard: Shard, dataset: SplitDataset, names: Sequence[str], settings: dict[str, Any], more: Iterable[Path] = ()
) -> Manifest:  # fmt: skip
    """Describe the shard ``names`` of a split; ``more``: files that it depends on besides images and masks."""
    folder = dataset.folder
    files = [path for name in sorted(names) for path in (folder.image(name), folder.mask(name))]
    settings = settings | {"split": dataset.split, "mask_dir": folder.mask_dir, "classes of the data": list(folder.classes)}
    return Manifest.of(verb, shard, settings, dataset.names, stamps([*files, *more]), folder.root)
