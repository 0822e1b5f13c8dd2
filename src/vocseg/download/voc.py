"""Download Pascal VOC and its augmented training set, with mirrors, resume and retries."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from vocseg import voc
from vocseg.data.layout import VocFolder
from vocseg.download.archive import unpack
from vocseg.download.http import PartialFile, RetryPolicy, Unavailable, fetch
from vocseg.download.mirrors import MIRRORS_VARIABLE, OFFICIAL, SBD, VOC_ARCHIVES, Archive, sources, user_mirrors
from vocseg.download.sbd import SPLIT, build_trainaug, has_trainaug
from vocseg.errors import DataError, InputError, OutputError, nearest, reason
from vocseg.utils.arguments import checked
from vocseg.utils.files import cannot_write, writable_folder

log = logging.getLogger("vocseg.download")


@dataclass(frozen=True)
class DownloadResult:
    """The folder, the number of images in each list, and where each archive came from (empty: all was there).

    >>> DownloadResult(VocFolder(Path("data/VOCdevkit/VOC2012")), {"train": 1464, "val": 1449}, {}).images["val"]
    1449
    """

    folder: VocFolder
    images: dict[str, int]
    origins: dict[str, str]

    @property
    def is_complete(self) -> bool:
        """Whether the lists have as many images as the official ones, rather than a part of them."""
        official = OFFICIAL.get(self.folder.root.name.removeprefix("VOC"), {})
        return all(self.images[split] >= whole for split, whole in official.items())


@checked
def download(
    folder: str | Path,
    year: str = "2012",
    trainaug: bool = False,
    mirrors: Sequence[str] = (),
    keep_archive: bool = False,
    retry: RetryPolicy = RetryPolicy(),  # noqa: B008  (frozen)
) -> DownloadResult:
    """Download VOC of a ``year``, and with ``trainaug`` SBD's masks; existing files are not changed.

    ``folder`` is to hold ``VOCdevkit``, or is ``VOCdevkit`` or ``VOC<year>`` itself. ``mirrors`` (URLs or paths) and
    those of the variable ``VOCSEG_MIRRORS`` are tried before the official hosts. The archive is kept beside the data
    until it is unpacked, or for good with ``keep_archive``; an interrupted download resumes with the next call. Raises
    InputError for bad arguments, DataError if no source serves the archive or ``VOC<year>`` is incomplete, OutputError
    if the disk is full.

    >>> download("data", trainaug=True).images  # doctest: +SKIP
    {'train': 1464, 'val': 1449, 'trainaug': 10582}
    >>> download("data", year="2006")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    vocseg.errors.InputError: year 2006 is not one of 2007, ...
    """
    if year not in VOC_ARCHIVES:
        raise InputError(f"year {year} is not one of {', '.join(voc.YEARS)}{nearest(year, list(voc.YEARS))}")
    if trainaug and year != "2012":
        raise InputError(f"trainaug is made from VOC2012, not VOC{year}")
    folder = Path(folder).expanduser()
    name = f"VOC{year}"
    home = folder.parent if folder.name == name else folder
    root = home / name if folder.name in (name, "VOCdevkit") else home / "VOCdevkit" / name
    store = _ArchiveStore(home, user_mirrors(mirrors), keep_archive, retry)
    found = _find_complete(root)
    if found is None or (trainaug and not has_trainaug(found)):
        with _exclusive_lock(home):
            found = _find_complete(root) or _unpack_voc(store, VOC_ARCHIVES[year], root)
            if trainaug and not has_trainaug(found):
                build_trainaug(found, store.get(SBD))
                store.release(SBD)
    return DownloadResult(found, _count_images(found, year, trainaug), store.origins)


def download_if_missing(folder: Path) -> None:
    """Download VOC2012, or the year that ``folder`` is named after, unless the folder has a VOC layout already."""
    try:
        VocFolder.find(folder)
    except DataError:
        year = folder.name.removeprefix("VOC")
        download(folder, year if folder.name == f"VOC{year}" and year in voc.YEARS else "2012")


def _find_complete(root: Path) -> VocFolder | None:
    """Return the folder ``root``, None if it is missing or empty; raises DataError if it is incomplete."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return None
    try:
        found = VocFolder.find(root)
        for split in ("train", "val"):
            found.ids(split)
    except DataError as error:
        raise DataError(f"{root} exists but is not complete ({error}); move it away to download it again") from error
    return found


def _count_images(found: VocFolder, year: str, trainaug: bool) -> dict[str, int]:
    """Count the images of each list; warns if there are fewer than in the official ones."""
    images = {split: len(found.ids(split)) for split in ("train", "val")}
    parts = [f"{images[split]} of {whole:,} {split}" for split, whole in OFFICIAL[year].items() if images[split] < whole]
    if parts:
        log.warning("%s is a part of VOC%s: %s images; move it away to download all", found.root, year, ", ".join(parts))
    return images | ({SPLIT: len(found.listed(SPLIT))} if trainaug else {})


def _unpack_voc(store: _ArchiveStore, archive: Archive, target: Path) -> VocFolder:
    """Get an archive, unpack it into a temporary folder, and rename the year's folder in it to ``target``."""
    file = store.get(archive)
    temporary = store.home / f".{target.name}.unpacking"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        unpack(file, writable_folder(temporary))
        # The archive of 2011 holds TrainVal/VOCdevkit/VOC2011, the others VOCdevkit/VOC20xx.
        roots = [path for path in temporary.glob(f"**/VOCdevkit/{target.name}") if path.is_dir()]
        if len(roots) != 1:
            raise DataError(f"archive {file} does not hold VOCdevkit/{target.name}; remove it, or use another --mirror")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            roots[0].rename(target)
        except OSError as error:
            raise cannot_write(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    store.release(archive)
    return VocFolder.find(target)


@dataclass
class _ArchiveStore:
    """The archives of one call: found in ``home``, on this machine, or downloaded into ``home``."""

    home: Path
    mirrors: list[str | Path]
    keep_archive: bool
    retry: RetryPolicy
    origins: dict[str, str] = field(default_factory=dict)

    def get(self, archive: Archive) -> Path:
        """Return a file with the right checksum: the one in ``home``, else the first that a source serves."""
        final, part = self.home / archive.name, self._part(archive)
        if final.is_file() and archive.size is not None and part.length <= final.stat().st_size < archive.size:
            log.info("%s is not complete: resuming", final)  # another tool's interrupted download
            final.replace(part.path)
        elif final.is_file():
            fault = _fault(final, archive)
            if not fault:
                self.origins[archive.name] = str(final)
                return final
            log.warning("%s is corrupt (%s): deleted", final, fault)
            final.unlink()
        failures: dict[str, list[str]] = {}
        for source in sources(archive, self.mirrors):
            try:
                path = self._local(source, archive) if isinstance(source, Path) else self._remote(source, archive)
                self.origins[archive.name] = str(source)
                return path
            except Unavailable as error:
                failures.setdefault(str(error), []).append(str(source))
                log.info("%s: %s", source, error)
        reasons = [f"{where[0] if len(where) == 1 else f'{len(where)} places'}: {text}" for text, where in failures.items()]
        raise DataError(
            f"could not download {archive.name} from any source ({'; '.join(reasons)}); try --mirror URL_OR_PATH,"
            f" set {MIRRORS_VARIABLE}, or put the file into {self.home}"
        )

    def release(self, archive: Archive) -> None:
        """Delete an archive that this or an earlier call downloaded, unless ``keep_archive``; users' own files stay."""
        part = self._part(archive)
        if part.origin() and not self.keep_archive:
            (self.home / archive.name).unlink(missing_ok=True)
        part.discard()

    def _part(self, archive: Archive) -> PartialFile:
        return PartialFile(self.home / f"{archive.name}.part")

    def _local(self, path: Path, archive: Archive) -> Path:
        if not path.is_file():
            raise Unavailable("no such file")
        self._check_space(archive, 0, path.stat().st_size)
        if fault := _fault(path, archive):
            raise Unavailable(fault)
        return path

    def _remote(self, url: str, archive: Archive) -> Path:
        """Download an archive; once more from the start if the bytes of an earlier call or mirror may be wrong."""
        part = self._part(archive)
        log.info("%s from %s%s", archive.name, url, f", from byte {part.length} on" if part.length else "")

        def check_space(missing: int) -> None:
            self._check_space(archive, missing, part.length + missing)

        resumed = True
        while resumed:
            resumed = fetch(url, part, archive.size, check_space, self.retry)
            fault = _fault(part.path, archive)
            if not fault:
                return part.path.replace(self.home / archive.name)
            part.discard()
            log.warning("%s from %s is corrupt (%s): deleted%s", archive.name, url, fault, "; trying again" if resumed else "")
        raise Unavailable(f"corrupt: {fault}")

    def _check_space(self, archive: Archive, missing: int, size: int) -> None:
        """Raise OutputError if ``missing`` bytes and the content of a ``size`` bytes archive exceed the free space."""
        needed, free = missing + int(size * archive.growth), shutil.disk_usage(self.home).free
        if needed > free:
            raise OutputError(
                f"{archive.name} and its content need {needed / 1e9:.1f} GB in {self.home}; {free / 1e9:.1f} GB are free"
            )


def _fault(path: Path, archive: Archive) -> str:
    """Say how a file differs from the published archive; empty if it does not."""
    try:
        size = path.stat().st_size
        if archive.size not in (None, size):
            return f"{size} bytes, not {archive.size}"
        with open(path, "rb") as file:
            for name, expected in (("MD5", archive.md5), ("SHA-256", archive.sha256)):
                file.seek(0)
                digest = hashlib.file_digest(file, partial(hashlib.new, name.replace("-", ""), usedforsecurity=False)).hexdigest()
                if expected and digest != expected:
                    return f"{name} {digest}, not {expected}"
    except OSError as error:
        return f"cannot be read: {reason(error)}"
    return ""


@contextmanager
def _exclusive_lock(home: Path) -> Iterator[None]:
    """Keep other processes from downloading into the same folder; best effort if the system has no file locks."""
    writable_folder(home)
    with ExitStack() as stack:
        try:
            import fcntl

            lock = os.open(home, os.O_RDONLY)
            stack.callback(os.close, lock)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"another process is downloading into {home}; wait for it to finish") from error
        except (ImportError, OSError):
            log.debug("%s: no file locks", home)
        yield
