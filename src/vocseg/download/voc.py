"""Pascal VOC and its augmented training set, from wherever they are to be had, into a folder; again and again until they are."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vocseg import voc
from vocseg.data.layout import VocFolder
from vocseg.download.archive import unpack
from vocseg.download.http import Part, Patience, Unavailable, fetch
from vocseg.download.mirrors import MIRRORS_VARIABLE, OFFICIAL, SBD, VOC_ARCHIVES, Archive, sources, user_mirrors
from vocseg.errors import DataError, InputError, OutputError, nearest, reason
from vocseg.utils.files import cannot_write, writable_folder
from vocseg.utils.progress import bar

log = logging.getLogger("vocseg.data")

AUGMENTED = "SegmentationClassAug"


@dataclass(frozen=True)
class Outcome:
    """What a call left behind: the year's folder, images in each list, and where archives came from, if any were needed."""

    folder: VocFolder
    images: dict[str, int]
    origins: dict[str, str]


def download(
    folder: Path,
    year: str = "2012",
    trainaug: bool = False,
    mirrors: Sequence[str] = (),
    keep_archive: bool = False,
    patience: Patience = Patience(),  # noqa: B008  (frozen)
) -> Outcome:
    """Have VOC of a ``year``, and with ``trainaug`` SBD's masks, below ``folder``; what is there already stays.

    ``folder`` is the one that is to hold ``VOCdevkit``, ``VOCdevkit`` itself, or ``VOC<year>``. An archive lies beside
    until it is unpacked (``keep_archive``: for good); an interrupted call is taken up by the next. ``mirrors`` (URLs or
    paths) and those of ``VOCSEG_MIRRORS`` come before the official hosts. Raises InputError, DataError or OutputError.
    """
    if year not in VOC_ARCHIVES:
        raise InputError(f"year {year} is not one of {', '.join(voc.YEARS)}{nearest(year, list(voc.YEARS))}")
    if trainaug and year != "2012":
        raise InputError(f"trainaug is made from VOC2012, not VOC{year}")
    job = _Job(Path(folder).expanduser(), year, user_mirrors(mirrors), keep_archive, patience)
    found = job.voc_there()
    if found is None or (trainaug and not job.trainaug_there(found)):
        with _alone(job.home):
            found = job.voc_there() or job.get_voc()
            if trainaug and not job.trainaug_there(found):
                job.get_trainaug(found)
    images = {split: len(found.ids(split)) for split in ("train", "val")}
    parts = [f"{images[split]} of {whole:,} {split}" for split, whole in OFFICIAL[year].items() if images[split] < whole]
    if parts:
        log.warning("%s is a part of VOC%s: %s images; move it away to have the whole", found.root, year, ", ".join(parts))
    if trainaug:
        images["trainaug"] = len(VocFolder.find(found.root, AUGMENTED).ids("trainaug"))
    return Outcome(found, images, job.origins)


def download_voc(folder: Path) -> None:
    """Have VOC2012 below ``folder``, or the year that the folder is named after, unless it holds data in VOC layout already."""
    try:
        VocFolder.find(folder)
    except DataError:
        named = folder.name.removeprefix("VOC")
        download(folder, named if folder.name.startswith("VOC") and named in voc.YEARS else "2012")


class _Job:
    """One call of :func:`download`."""

    def __init__(self, folder: Path, year: str, mirrors: list[str], keep_archive: bool, patience: Patience) -> None:
        name = f"VOC{year}"
        self.target = (
            folder if folder.name == name else folder / name if folder.name == "VOCdevkit" else folder / "VOCdevkit" / name
        )
        self.home = folder.parent if folder.name == name else folder
        self.archive = VOC_ARCHIVES[year]
        self.mirrors, self.keep_archive, self.patience = mirrors, keep_archive, patience
        self.origins: dict[str, str] = {}

    def voc_there(self) -> VocFolder | None:
        """The year's folder, if it is there; DataError where it is, but something is missing from it."""
        if not self.target.exists() or (self.target.is_dir() and not any(self.target.iterdir())):
            return None
        try:
            found = VocFolder.find(self.target)
            for split in ("train", "val"):
                found.ids(split)
        except DataError as error:
            raise DataError(f"{self.target} exists but is not complete ({error}); move it away to have it anew") from error
        return found

    def get_voc(self) -> VocFolder:
        """The year's folder, from its archive: unpacked aside and renamed."""
        archive = self._obtain(self.archive)
        aside = self.home / f".{self.target.name}.unpacking"
        shutil.rmtree(aside, ignore_errors=True)
        try:
            unpack(archive, writable_folder(aside))
            # The archive of 2011 holds TrainVal/VOCdevkit/VOC2011, the others VOCdevkit/VOC20xx.
            roots = [path for path in aside.glob(f"**/VOCdevkit/{self.target.name}") if path.is_dir()]
            if len(roots) != 1:
                raise DataError(f"archive {archive} holds no VOCdevkit/{self.target.name}")
            try:
                self.target.parent.mkdir(parents=True, exist_ok=True)
                roots[0].rename(self.target)
            except OSError as error:
                raise cannot_write(self.target, error) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        self._finished(archive, self.archive)
        found = self.voc_there()
        assert found is not None
        return found

    def trainaug_there(self, found: VocFolder) -> bool:
        """Whether masks and list of trainaug are there."""
        from vocseg.download.sbd import has_trainaug

        return has_trainaug(found)

    def get_trainaug(self, found: VocFolder) -> None:
        """The masks and the list of trainaug, from SBD's archive."""
        from vocseg.download.sbd import build_trainaug

        archive = self._obtain(SBD)
        build_trainaug(found, archive)
        self._finished(archive, SBD)

    def _finished(self, file: Path, archive: Archive) -> None:
        """Throw away an archive that was downloaded by this or an earlier call; the user's own stay."""
        part = self._part(archive)
        if part.origin() and file.parent == self.home and not self.keep_archive:
            file.unlink(missing_ok=True)
        part.discard()

    def _part(self, archive: Archive) -> Part:
        return Part(self.home / f"{archive.name}.part")

    def _obtain(self, archive: Archive) -> Path:
        """A file with the right checksum: the one that is here, else the first that a source gives."""
        final, part = self.home / archive.name, self._part(archive)
        if final.is_file() and archive.size is not None and part.length <= final.stat().st_size < archive.size:
            log.info("%s is not complete: going on from there", final)  # another tool's unfinished download
            final.replace(part.path)
        elif final.is_file():
            fault = _fault(final, archive)
            if not fault:
                self.origins[archive.name] = str(final)
                return final
            log.warning("%s is corrupt (%s): thrown away", final, fault)
            final.unlink()
        failures: dict[str, list[str]] = {}
        for source in sources(archive, self.mirrors):
            try:
                path = self._local(source, archive) if isinstance(source, Path) else self._remote(source, archive, part, final)
            except Unavailable as error:
                failures.setdefault(str(error), []).append(str(source))
                log.info("%s: %s", source, error)
                continue
            self.origins[archive.name] = str(source)
            return path
        reasons = [f"{where[0] if len(where) == 1 else f'{len(where)} places'}: {reason}" for reason, where in failures.items()]
        raise DataError(
            f"{archive.name} is to be had nowhere ({'; '.join(reasons)}); give another place with --mirror URL_OR_PATH"
            f" or {MIRRORS_VARIABLE}, or put the file into {self.home}"
        )

    def _local(self, path: Path, archive: Archive) -> Path:
        """A file on this machine, used where it lies."""
        if not path.is_file():
            raise Unavailable("no such file")
        self._room(archive, 0, path.stat().st_size)
        fault = _fault(path, archive)
        if fault:
            raise Unavailable(fault)
        return path

    def _remote(self, url: str, archive: Archive, part: Part, final: Path) -> Path:
        """A download; once more from the start where what is wrong may come from an earlier call or another mirror."""
        log.info("%s from %s%s", archive.name, url, f", from byte {part.length} on" if part.length else "")
        while True:

            def room(coming: int) -> None:
                self._room(archive, coming, part.length + coming)

            resumed = fetch(url, part, archive.size, room, self.patience)
            fault = _fault(part.path, archive)
            if not fault:
                part.path.replace(final)
                return final
            part.discard()
            log.warning("%s from %s is corrupt (%s): thrown away%s", archive.name, url, fault, "; once more" if resumed else "")
            if not resumed:
                raise Unavailable(f"corrupt: {fault}")

    def _room(self, archive: Archive, coming: int, size: int) -> None:
        """OutputError where ``coming`` bytes and the content of an archive of ``size`` bytes do not fit on the disk."""
        needed, free = coming + int(size * archive.growth), shutil.disk_usage(self.home).free
        if needed > free:
            raise OutputError(
                f"{archive.name} and its content need {needed / 1e9:.1f} GB in {self.home}; {free / 1e9:.1f} GB are free"
            )


def _fault(path: Path, archive: Archive) -> str:
    """In what a file differs from the archive as published; empty where in nothing."""
    digest = hashlib.md5(usedforsecurity=False)
    size = path.stat().st_size
    if archive.size not in (None, size):
        return f"{size} bytes, not {archive.size}"
    try:
        with open(path, "rb") as file, bar(total=size, desc=f"check {archive.name}", unit="B", unit_scale=True) as shown:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
                shown.update(len(chunk))
    except OSError as error:
        return f"cannot be read: {reason(error)}"
    return "" if digest.hexdigest() == archive.md5 else f"MD5 {digest.hexdigest()}, not {archive.md5}"


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Keep other processes from downloading into the same folder; where the system has no such locks, hope."""
    writable_folder(home)
    try:
        import fcntl
    except ImportError:
        yield
        return
    lock = os.open(home, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"another process is downloading into {home}") from error
        except OSError:
            log.debug("%s: no locks on this file system", home)
        yield
    finally:
        os.close(lock)
