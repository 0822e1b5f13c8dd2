"""Shards: shares of a run for several processes or machines, each image by its id alone, and the folders of their results."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from vocseg.errors import DataError, InputError, OutputError, SettingError, reason, shown
from vocseg.utils.files import read_json, write_json
from vocseg.utils.staging import is_there, pulled, staging_of
from vocseg.utils.stand_ins import fetched, mirror, published
from vocseg.utils.temporary import temporary_beside
from vocseg.utils.text import counted
from vocseg.utils.urls import is_remote

T = TypeVar("T")
log = logging.getLogger("vocseg")

MANIFEST = "shard.json"
"""What a shard was made of, in the folder of its results."""
NAMED = 10
"""Gaps in the numbers of shards that an error names."""
FOLDER_NAME = re.compile(r"shard-\d+-of-\d+")
"""Name of the folder of a shard's results."""
RESULTS = re.compile(FOLDER_NAME.pattern + r"/|[^/]+$")
"""Files of shards, below the folder that holds them, or that of one."""


class Shard(NamedTuple):
    """A share: ``number``, from 1 on, of ``total``."""

    number: int
    total: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``I/N``; SettingError unless I is one of 1 to N.

        >>> Shard.parse("3/8")
        Shard(number=3, total=8)
        """
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise SettingError(f"shard '{text}' is not I/N with I from 1 to N, e.g. 1/8 for the first of 8")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def holds(self, name: str) -> bool:
        """Tell whether the image of this id is in the shard: a hash of the id says so, whatever else there is."""
        content = name.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(content, digest_size=8, person=b"shard").digest()  # others than the folds of `data errors`
        return int.from_bytes(digest, "big") % self.total + 1 == self.number

    @property
    def name(self) -> str:
        """Name of the folder of the shard's results."""
        return f"shard-{self.number}-of-{self.total}"

    def folder(self, out: str | Path) -> Path:
        """Return the folder of the shard's results below ``out``."""
        return Path(out) / self.name

    def is_written(self, out: str | Path, verb: str) -> bool:
        """Tell whether ``out`` has results of the shard; OutputError if what is there is of another verb, or no shard."""
        folder, other = self.folder(out), verb
        if not is_there(folder / MANIFEST):
            if folder.exists():
                raise OutputError(f"cannot write {folder}: it exists, and is not a shard; choose another folder, or delete it")
            return False
        with suppress(DataError), pulled(folder / MANIFEST) as file:
            other = Manifest.load(file.parent).verb
        if other != verb:
            raise OutputError(f"cannot write {folder}: it has results of '{other}'; choose another folder, or delete it")
        return True


def digest(values: Iterable[object]) -> str:
    """Return a hash of values by their text."""
    total = hashlib.blake2b(digest_size=16)
    for value in values:
        total.update(f"{value}\n".encode("utf-8", "surrogatepass"))
    return total.hexdigest()


def stamps(paths: Iterable[Path]) -> Iterator[tuple[str, int, int]]:
    """Yield name, size and time of change of files, packed ones by their tar file; DataError for one that is not there."""
    for path in paths:
        try:
            found = (path.parents[1] if len(path.parts) > 2 and path.parts[-3].endswith(".tar") else path).stat()
        except OSError as error:
            raise DataError(f"cannot read {path}: {reason(error)}") from error
        yield path.name, found.st_size, found.st_mtime_ns


def named_file(name: str | Path) -> str:
    """Return the name of a model or of a file; of a file with a hash of its content."""
    path = fetched(name).expanduser()
    if not path.is_file():
        return str(name)
    with open(path, "rb") as file:
        return f"{path.name} ({hashlib.file_digest(file, 'sha256').hexdigest()[:16]})"


@dataclass(frozen=True)
class Manifest:
    """What a shard was made of: ``settings`` and the hash of the ``listed`` ids are those of all shards of a run.

    ``images``: how many there are in all. ``inputs``: a hash of the shard's own ids and files. ``data``: where they were.
    """

    verb: str
    shard: Shard
    settings: dict[str, Any]
    images: int
    listed: str
    inputs: str
    data: str = field(compare=False)

    @classmethod
    def of(cls, verb: str, shard: Shard, settings: dict[str, Any], names: Iterable[str], inputs: Iterable[object],
           data: str | Path) -> Manifest:  # fmt: skip
        """Describe a shard of the images ``names`` of ``data``, of which it has its own, in files that ``inputs`` describe."""
        from vocseg import __version__

        names, where = sorted(names), shown(Path(data).absolute())
        return cls(verb, shard, {"vocseg": __version__, **settings}, len(names), digest(names), digest(inputs), where)

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read the manifest of a folder of results; DataError if it is damaged."""
        values = loaded(lambda folder: read_json(folder / MANIFEST), folder)
        try:
            shard, texts = Shard.parse(values["shard"]), (str(values[name]) for name in ("listed", "inputs", "data"))
            return cls(str(values["verb"]), shard, dict(values["settings"]), int(values["images"]), *texts)
        except (LookupError, TypeError, ValueError, SettingError) as error:
            raise DataError(f"{folder / MANIFEST} describes no shard: {reason(error)}; run the shard again") from error

    def write(self, folder: Path) -> None:
        """Write the manifest to a folder."""
        values = {"verb": self.verb, "shard": str(self.shard), "images": self.images, "settings": self.settings}
        write_json(folder / MANIFEST, values | {"listed": self.listed, "inputs": self.inputs, "data": self.data})

    def finished(self, out: str | Path | None) -> Path | None:
        """Return the folder of an earlier run of this shard, if that had the same settings and files; else None.

        Raises OutputError if the folder is that of something else.

        Images of other shards may have been added since.
        """
        if out is None or not self.shard.is_written(out, self.verb):
            return None
        folder = self.shard.folder(out)
        if staging := staging_of(folder):
            staging.pull(folder)
        try:
            known = Manifest.load(folder)
        except DataError:
            return None
        if replace(known, images=self.images, listed=self.listed) != self:
            return None
        if known != self:
            self.write(folder)
        return folder

    def once(
        self, out: str | Path | None, load: Callable[[Path], T], make: Callable[[], T], save: Callable[[T, Path], object]
    ) -> T:  # fmt: skip
        """Return the results of an earlier run of this shard, or make new ones and, with a folder ``out``, write them.

        Results that ``load`` raises a DataError for are made again.
        """
        if done := self.finished(out):
            try:
                results = load(done)
            except DataError as error:
                log.warning("%s; shard %s is computed again", error, self.shard)
            else:
                log.info("shard %s is finished: %s", self.shard, published(done))
                return results
        if out is not None:
            self._name_other(Path(out))
        results = make()
        if out is not None:
            with self.writing(out) as folder:
                save(results, folder)
        return results

    def _name_other(self, out: Path) -> None:
        """Warn, before hours of work, of a shard there that does not go with this one; one is read, there may be thousands."""
        for folder in islice(out.glob(f"shard-*-of-{self.shard.total}"), 2):
            with suppress(DataError):
                other = Manifest.load(folder)
                differ = [row for row in _compared(other, self) if row[1] != row[2]]
                if differ and other.shard != self.shard:
                    what, its, mine = differ[0]
                    values = f"{_text(its)} in {published(folder)}, but {_text(mine)} here"
                    log.warning("%s %s: run that shard again too, or choose another --out", what, values)
                    return

    @contextmanager
    def writing(self, out: str | Path) -> Iterator[Path]:
        """Yield a new folder for the results; it takes the shard's name at the end, complete, in place of older results."""
        folder = self.shard.folder(out)
        with temporary_beside(folder, is_folder=True) as temporary:
            yield temporary
            self.write(temporary)
            if self.shard.is_written(out, self.verb) and folder.exists():
                shutil.rmtree(folder)
            if staging := staging_of(folder):
                staging.clear(folder)
            os.replace(temporary, folder)


def loaded(load: Callable[[Path], T], folder: Path) -> T:
    """Load the results of a shard from its folder; a DataError says to run it again."""
    try:
        return load(folder)
    except DataError as error:
        raise DataError(f"{error}; run the shard again") from error


def find_shards(results: Sequence[str | Path]) -> dict[Path, Manifest]:
    """Find all shards of one run in folders, or in the folders that hold them; return them by folder, in order.

    Raises InputError, naming the folders and the values, for shards of several runs, those that are missing, and one
    that is there twice.
    """
    folders = list(dict.fromkeys(folder for result in results for folder in _folders(result)))
    found = sorted(((folder, Manifest.load(folder)) for folder in folders), key=lambda row: row[1].shard)
    first, one = found[0]
    for folder, other in found[1:]:
        for what, mine, its in _compared(one, other):
            if mine != its:
                values = f"{_text(mine)} in {first}, but {_text(its)} in {folder}"
                raise InputError(f"{what} {values}: merge the shards of one run")
        if other.listed != one.listed:
            what = f"of {counted(one.images, 'image')} in {first}, but of {counted(other.images, 'image')} in {folder}"
            raise InputError(f"other lists {what}: run all shards again; those whose images are the same are kept")
    count, times = one.shard.total, Counter(manifest.shard for _, manifest in found)
    if twice := [shard for shard, number in times.items() if number > 1]:
        where = " and ".join(str(folder) for folder, manifest in found if manifest.shard == twice[0])
        raise InputError(f"shard {twice[0]} is given twice: {where}")
    if len(found) < count:
        missing = _missing([shard.number for shard in times], count)
        raise InputError(f"missing shard{'s' * (count - len(found) > 1)} {missing} of {count}: run with --shard I/{count}")
    return dict(found)


def _missing(numbers: Sequence[int], count: int) -> str:
    """Name those of 1 to ``count`` that are not among the sorted numbers; of many, the first."""
    gaps = [(low + 1, high - 1) for low, high in pairwise([0, *numbers, count + 1]) if high - low > 1]
    texts = [f"{low}" if low == high else f"{low}{', ' if low + 1 == high else ' to '}{high}" for low, high in gaps]
    return ", ".join(texts[:NAMED]) + (" and more" if len(texts) > NAMED else "")


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _compared(one: Manifest, other: Manifest) -> Iterator[tuple[str, Any, Any]]:
    yield "results of", one.verb, other.verb
    yield "number of shards", one.shard.total, other.shard.total
    for name in dict.fromkeys([*one.settings, *other.settings]):
        yield name, one.settings.get(name), other.settings.get(name)


def _folders(result: str | Path) -> list[Path]:
    if is_remote(result):
        result = mirror(str(result), lambda name: RESULTS.match(name) is not None)
    result = Path(result)
    if (result / MANIFEST).is_file():
        return [result]
    if found := sorted(path.parent for path in result.glob(f"shard-*-of-*/{MANIFEST}")):
        return found
    raise InputError(f"no results of shards in {result}; --shard I/N with --out writes them")


def own_names(shard: Shard | None, names: Sequence[str]) -> list[str]:
    """Return the names of a shard, or all."""
    return list(names) if shard is None else [name for name in names if shard.holds(name)]
