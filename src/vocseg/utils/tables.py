"""What a call keeps in a folder on a disk or at a URL until it ends: what it is about, and tables of Ray Data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet
from pyarrow.fs import FileSelector, FileSystem, FSSpecHandler, LocalFileSystem, PyFileSystem
from ray.data.checkpoint.checkpoint_filter import CheckpointManager

from vocseg.utils import remote
from vocseg.utils.stand_ins import url_of

ABOUT = "run.json"
PENDING = ".pending.parquet"
"""End of the name of a table of images whose results may be incomplete, in Ray Data's checkpoints."""


class _Store(FSSpecHandler):  # type: ignore[misc]
    """Files at a URL. Folders of stores need not be made; fsspec would make a bucket that is missing."""

    def create_dir(self, path: str, recursive: bool) -> None:
        if not remote.is_store(self.fs):
            super().create_dir(path, recursive)


class NoneDone(CheckpointManager):  # type: ignore[misc]
    """Tells Ray Data that nothing is finished: it is passed what is not, which takes no tasks and actors of its own."""

    def load_checkpoint(self, *arguments: Any, **options: Any) -> tuple[None, int]:
        return None, 0


class Tables:
    """A folder of tables; ``files``, ``folder``: as pyarrow and Ray Data take them."""

    def __init__(self, folder: Path) -> None:
        self.files: FileSystem = LocalFileSystem()
        self.folder, url = str(folder.absolute()), url_of(folder)
        if url is not None:
            system, self.folder = remote.uncached(url)
            self.files = PyFileSystem(_Store(system))

    def about(self) -> Any:
        """Return what the tables are about; None if there are none."""
        try:
            with self.files.open_input_stream(f"{self.folder}/{ABOUT}") as file:
                return json.loads(file.read())
        except (OSError, ValueError):
            return None

    def begin(self, about: Any) -> None:
        """Delete all, and note what new tables are about."""
        self.forget()
        self.files.create_dir(self.folder, recursive=True)
        with self.files.open_output_stream(f"{self.folder}/{ABOUT}") as file:
            file.write(json.dumps(about).encode())

    def tables(self, name: str) -> Iterator[pa.Table]:
        """Yield the complete tables in a folder of the folder, of texts only."""
        for path in sorted(self._paths(name)):
            if not path.endswith(PENDING):
                with suppress(pa.ArrowInvalid):
                    table = parquet.read_table(path, filesystem=self.files, partitioning=None)
                    if {*table.schema.types} <= {pa.string()}:  # a type of Ray's would be unpickled
                        yield table

    def settle(self, checkpoints: str, results: str) -> None:
        """Delete pending tables and their results, except those that have their final names too: a store copies, then deletes."""
        names = set(self._paths(checkpoints))
        for path in (path for path in names if path.endswith(PENDING)):
            final = path.removesuffix(PENDING)
            if f"{final}.parquet" not in names:
                for result in self._paths(results):
                    if Path(result).name.startswith(Path(final).name):
                        self.files.delete_file(result)
            self.files.delete_file(path)

    def forget(self) -> None:
        """Delete the folder."""
        with suppress(FileNotFoundError):
            self.files.delete_dir(self.folder)

    def _paths(self, name: str) -> list[str]:
        found = self.files.get_file_info(FileSelector(f"{self.folder}/{name}", allow_not_found=True))
        return [file.path for file in found if file.path.endswith(".parquet")]
