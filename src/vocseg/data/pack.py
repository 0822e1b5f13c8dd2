"""Pack a data set in VOC layout into tar files of WebDataset's convention, and unpack it bit for bit."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PureWindowsPath
from unicodedata import normalize

from vocseg import voc
from vocseg.data.layout import VocFolder, data_folder, protect_data, refuse_inside
from vocseg.data.packed import INDEX, VERSION, PackedFiles, ShardFile, find_packed
from vocseg.errors import DataError, OutputError, SettingError, reason
from vocseg.utils.arguments import checked
from vocseg.utils.files import building
from vocseg.utils.progress import progress
from vocseg.utils.staging import staged, staging_of, upload
from vocseg.utils.stand_ins import complete, open_file, published, url_of
from vocseg.utils.tar import add_file

CLASSES = "classes.json"
MEGABYTE = 10**6
OWN_NAMES = re.compile(rf"{re.escape(INDEX)}|{re.escape(CLASSES)}|shard-\d+\.tar")
"""Files that a packed data set has and a folder has not."""
REMAINS = re.compile(rf"{re.escape(CLASSES)}|shard-\d+\.tar")
"""What an upload that was killed may leave; the index comes last."""


@dataclass(frozen=True)
class Packed:
    """What was packed or unpacked: the folder, and the numbers of ids, files in shards, shards, and their bytes.

    >>> Packed(Path("shards"), ids=2913, files=5826, shards=2, bytes=320_000_000).to_dict()["ids"]
    2913
    """

    folder: Path | str
    ids: int
    files: int
    shards: int
    bytes: int

    def to_dict(self) -> dict[str, int | str]:
        """Return the values for JSON."""
        return asdict(self) | {"folder": str(self.folder)}


@checked
@staged("out")
def pack(
    data: str | Path,
    out: str | Path,
    *,
    splits: Sequence[str] | None = None,
    shard_size: int = 256,
    images_per_shard: int | None = None,
) -> Packed:
    """Pack a data set in VOC layout into tar files (shards) of WebDataset's convention, with an index.

    All files of an image stand next to each other in a shard: ``ID.jpg``, ``ID.seg.png`` (the mask in SegmentationClass), and
    ``ID.FOLDER.SUFFIX`` for other folders. The new folder ``out`` also has the split lists, ``classes.txt`` if there is one,
    ``classes.json`` and the index ``shards.json``; it appears only when it is complete. The same files give the same bytes.

    ``splits`` packs only the images and lists of these splits. A shard ends before it would have more than ``shard_size``
    megabytes, or more than ``images_per_shard`` images. What takes a data set takes ``out``; :func:`unpack` gives the folder back.

    ``out`` may be a URL (``s3://bucket/shards``): each shard is uploaded when it is complete, and the index last. ``data`` may be
    one too, and is then copied to a temporary folder.

    Raises DataError if there is no VOC layout or split list, or a file cannot be read, OutputError if ``out`` is not new or
    empty or cannot be written.

    >>> import tempfile
    >>> from vocseg.data.samples import FOLDER
    >>> packed = pack(FOLDER, Path(tempfile.mkdtemp()) / "shards")
    >>> packed.ids, packed.files, packed.shards
    (4, 8, 1)
    """
    if shard_size < 1 or (images_per_shard is not None and images_per_shard < 1):
        raise SettingError(f"a shard has at least 1 megabyte and 1 image, not {shard_size} and {images_per_shard}")
    folder, out = VocFolder.find(data, masks=False), Path(out)
    if folder.packed is None and url_of(folder.root):
        complete(folder.root)
    else:
        folder.unpacked()
    protect_data(data, (), [out])
    refuse_inside(out, folder.root)
    groups, others = _sorted_files(folder, splits)
    if (staging := staging_of(out)) and not all(name in others or REMAINS.fullmatch(name) for name in staging.listing):
        raise OutputError(f"{out} is not an empty folder; choose another, or remove it")
    limits = shard_size * MEGABYTE, images_per_shard or len(groups) + 1
    with building(out) if staging is None else _folder(out) as target:
        shards = []
        for number, batch in enumerate(_batches(progress(groups.items(), len(groups), "pack"), folder.root, *limits)):
            shards.append(_write_shard(file := target / f"shard-{number:06d}.tar", folder.root, batch))
            upload([file])
        for name in others:
            _copy(folder.root / name, target / name)
        index = {"version": VERSION, "name": folder.root.resolve().name, "shards": [shard._asdict() for shard in shards]}
        (target / INDEX).write_text(json.dumps(index, separators=(",", ":")) + "\n", encoding="utf-8")
        (target / CLASSES).write_text(json.dumps(folder.classes) + "\n", encoding="utf-8")
    return _packed(out, shards)


@checked
@staged("out")
def unpack(shards: str | Path, out: str | Path) -> Packed:
    """Write the files of a packed data set to the new folder ``out``, bit for bit as they were packed.

    Raises DataError if there is no index, a shard is missing or not the one that the index describes, or the index names a
    file outside of ``out``; OutputError if ``out`` is not new or empty or cannot be written. ``out`` appears only when it is
    complete. Both may be URLs; the files of ``out`` are then written to the disk first.

    >>> import tempfile
    >>> from vocseg.data.samples import FOLDER
    >>> folder = Path(tempfile.mkdtemp())
    >>> packed = pack(FOLDER, folder / "shards")
    >>> unpack(folder / "shards", folder / "data").files
    8
    >>> (folder / "data/JPEGImages/camera.jpg").read_bytes() == (FOLDER / "JPEGImages/camera.jpg").read_bytes()
    True
    """
    source, out = data_folder(shards), Path(out)
    found = find_packed(source)
    if found is None:
        raise DataError(f"{source} is not a packed data set: it has no {INDEX}")
    _refuse_unsafe(found)
    refuse_inside(out, source)
    if (staging := staging_of(out)) and staging.listing:
        raise OutputError(f"{out} is not an empty folder; choose another, or remove it")
    with building(out) as target:
        for shard in progress(found.shards, len(found.shards), "unpack", "shard"):
            check_shard(source / shard.file, shard)
            for path, _, _ in shard.files:
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                (target / path).write_bytes(found.read(path))
        for file in _files(source):
            if not OWN_NAMES.fullmatch(file):
                _copy(source / file, target / file)
    return _packed(out, found.shards)


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    path.mkdir()
    yield path


def _packed(folder: Path, shards: Sequence[ShardFile]) -> Packed:
    files = [path for shard in shards for path, _, _ in shard.files]
    return Packed(
        published(folder), len({_stem(path) for path in files}), len(files), len(shards), sum(shard.bytes for shard in shards)
    )


def _stem(path: str) -> str:
    return normalize("NFC", os.path.splitext(path.rpartition("/")[2])[0])  # macOS takes accents apart


def _sorted_files(folder: VocFolder, splits: Sequence[str] | None) -> tuple[dict[str, list[str]], list[str]]:
    """Return the files of images, masks and annotations by id, and all others, named from the root of the layout.

    With ``splits``, only those of their images, their lists, and the files that belong to no folder.
    """
    lists = None if splits is None else [f"{voc.SPLITS}/{split}.txt" for split in splits]
    ids = None if splits is None else {name for split in splits for name in folder.listed(split)}
    groups: dict[str, list[str]] = {}
    others = []
    for path in _files(folder.root):
        parent = path.rpartition("/")[0]
        if parent and "/" not in parent and parent != voc.SPLITS.partition("/")[0]:
            if ids is None or _stem(path) in ids:
                groups.setdefault(_stem(path), []).append(path)
        elif OWN_NAMES.fullmatch(path):
            raise DataError(f"{folder.root / path} has a name that packed data uses: rename it")
        elif lists is None or not parent or path in lists:
            others.append(path)
    return dict(sorted(groups.items())), others


def _files(root: Path) -> list[str]:
    """Return the files below a folder by name. Of folders that are links, those directly in it are read."""
    links = [path for path in root.glob("*") if path.is_symlink() and path.is_dir()]
    walked = (step for top in (root, *links) for step in os.walk(top, onerror=_cannot_read))
    return sorted(Path(parent, file).relative_to(root).as_posix() for parent, _, files in walked for file in files)


def _cannot_read(error: OSError) -> None:
    raise DataError(f"cannot read {error.filename}: {reason(error)}") from error


def _batches(
    groups: Iterable[tuple[str, list[str]]], root: Path, most_bytes: int, most_images: int
) -> Iterator[list[tuple[str, list[str]]]]:
    """Divide ids and their files into shards."""
    batch: list[tuple[str, list[str]]] = []
    total = 0
    for name, files in groups:
        size = sum(_size(root / file) for file in files)
        if batch and (len(batch) == most_images or total + size > most_bytes):
            yield batch
            batch, total = [], 0
        batch.append((name, files))
        total += size
    yield from [batch] if batch else []


def _size(path: Path) -> int:
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"cannot read {path}: it is not a regular file")
    return found.st_size


def member_name(path: str) -> str:
    """Return the name in a shard of a file: WebDataset takes what comes before the first dot as the key of a sample.

    >>> [member_name(path) for path in ("JPEGImages/a.jpg", "SegmentationClass/a.png", "Annotations/a.xml", "JPEGImages/a.1.jpg")]
    ['a.jpg', 'a.seg.png', 'a.Annotations.xml', 'a%2E1.jpg']
    """
    folder, _, name = path.rpartition("/")
    kind = {voc.IMAGES: "", voc.MASKS: ".seg"}.get(folder, f".{folder}")
    return _stem(path).replace("%", "%25").replace(".", "%2E") + kind + os.path.splitext(name)[1]


class _Hashed:
    """A file that is written once, from beginning to end, and hashed."""

    def __init__(self, path: Path) -> None:
        self.file, self.sha256 = open(path, "wb"), hashlib.sha256()  # noqa: SIM115  (closed by its user)

    def write(self, content: bytes) -> int:
        self.sha256.update(content)
        return self.file.write(content)

    def tell(self) -> int:
        return self.file.tell()


def _write_shard(path: Path, root: Path, groups: Iterable[tuple[str, list[str]]]) -> ShardFile:
    files, target = [], _Hashed(path)
    with target.file, tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:  # type: ignore[call-overload]
        for name, group in groups:
            members: dict[str, str] = {}
            for file in group:
                member = member_name(file)
                if member.lower() in members:
                    raise DataError(f"{root / file} and {members[member.lower()]} of '{name}' would both be {member}: rename one")
                members[member.lower()] = file
                content = _content(root / file)
                files.append((file, add_file(archive, member, content), len(content)))
        archive.close()
        size = target.tell()
    return ShardFile(path.name, size, target.sha256.hexdigest(), files)


def _content(path: Path) -> bytes:
    _size(path)  # a pipe would block
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(_content(source))


def _refuse_unsafe(shards: PackedFiles) -> None:
    """Raise DataError if the index names a file outside of the folder that it is unpacked to, on any system."""
    for shard in shards.shards:
        for path, _, _ in shard.files:
            named = PureWindowsPath(path)
            if not path or named.anchor or ".." in named.parts or "\0" in path:
                raise DataError(f"{shards.folder / INDEX} names '{path}', which is outside of the data set: do not trust it")


def check_shard(path: Path, shard: ShardFile) -> None:
    """Raise DataError unless a shard has the contents that the index describes."""
    try:
        with open_file(path) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read shard {path}: {reason(error)}") from error
    if found != shard.sha256:
        raise DataError(f"shard {path} is damaged: its SHA-256 is not the one in {INDEX}; copy it again")
