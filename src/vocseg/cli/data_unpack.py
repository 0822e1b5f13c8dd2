"""``vocseg data unpack``."""

from __future__ import annotations

from vocseg.cli.options import Json, Output


def unpack(shards: Output, /, *, out: Output, json: Json = None) -> None:
    """Write the files of a packed data set to a folder, bit for bit as they were packed.

    Checks the SHA-256 of every shard, and that no file would be written outside of the folder.

    ```
    vocseg data unpack shards --out data
    vocseg data unpack s3://bucket/shards --out data
    ```

    Args:
        shards: Folder that `vocseg data pack` has written, or its URL.
        out: Output folder, or its URL; must be new or empty. It appears only when it is complete.
    """
    from vocseg.cli.console import say
    from vocseg.data import pack as packing
    from vocseg.utils.files import refuse_to_replace, write_json
    from vocseg.utils.text import counted

    refuse_to_replace([json])
    unpacked = packing.unpack(shards, out)
    say(f"{out}: {counted(unpacked.files, 'file')} of {counted(unpacked.ids, 'id')}")
    if json is not None:
        write_json(json, unpacked.to_dict())
