"""``vocseg data pack``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from vocseg.cli.data_doctor import SEVERAL
from vocseg.cli.options import Json, Output, Positive

Unpacked = Annotated[
    str, Parameter(help="Folder that holds VOCdevkit, VOCdevkit itself, or a folder in VOC layout, also at a URL.")
]


def pack(
    data: Unpacked,
    /,
    *,
    out: Output,
    splits: Annotated[list[str] | None, SEVERAL] = None,
    shard_size: Positive = 256,
    images_per_shard: Positive | None = None,
    json: Json = None,
) -> None:
    """Pack a data set into a few tar files (shards), which --data takes in place of the folder.

    Reading a shard is one opened file for thousands of images: for network and cluster file systems, and for copies. The
    tar files follow WebDataset's convention, and their bytes depend on the packed files alone.

    ```
    vocseg data pack data --out shards
    vocseg data pack data --out shards --splits train val --images-per-shard 1000
    vocseg train --data shards
    vocseg data pack data --out s3://bucket/shards
    vocseg data unpack shards --out data-again
    ```

    Args:
        out: Output folder, or its URL; must be new or empty. It appears only when it is complete.
        splits: Pack only the images and lists of these splits. Default: all files.
        shard_size: Megabytes of a shard, at most (a larger image gets one of its own).
        images_per_shard: Images of a shard, at most.
    """
    from vocseg.cli.console import say
    from vocseg.data import pack as packing
    from vocseg.utils.files import refuse_to_replace, write_json
    from vocseg.utils.text import counted

    refuse_to_replace([json])
    packed = packing.pack(data, out, splits=splits, shard_size=shard_size, images_per_shard=images_per_shard)
    files, ids, shards = counted(packed.files, "file"), counted(packed.ids, "id"), counted(packed.shards, "shard")
    say(f"{out}: {files} of {ids} in {shards}, {packed.bytes:,} bytes")
    if json is not None:
        write_json(json, packed.to_dict())
