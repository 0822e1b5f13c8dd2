"""Read the items of a source in their order: members of archives, pages of TIFF files, frames of animations and videos."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence, Sized
from contextlib import closing
from functools import partial
from itertools import count, groupby, takewhile
from pathlib import Path
from typing import Any, NoReturn

from vocseg.data.pages import may_have_pages, pages
from vocseg.errors import DataError
from vocseg.inference.archives import contents
from vocseg.inference.engines import MANY
from vocseg.inference.images import NamedBytes, read_ahead
from vocseg.inference.sources import STDIN_LABEL, Item
from vocseg.inference.video import Reading, frame_count, read_frames


def one_by_one(images: Iterable[Any], reading: Reading) -> Iterator[Any]:
    """Yield one item for each image of the items, and what is no :class:`Item` as it is.

    The content of an archive's member, and the pages of a TIFF file (also behind an address), and the frames of a video or an
    animation, are read here, in order and one at a time; everything else when the item is read, perhaps in another thread.
    """
    for archive, group in groupby(images, key=lambda image: image.path if _is_member(image) else None):
        if archive is None:
            for image in group:
                if not isinstance(image, Item):
                    yield image
                elif image.read is not None:
                    yield from _elsewhere(image, reading.frames) if _may_have_pages(image, reading.frames) else [image]
                else:
                    yield from _video(image, reading) if image.is_video else _images(image, image.path, reading.frames)
            continue
        items = list(group)
        for item, content in zip(items, contents(archive, [item.member for item in items]), strict=True):
            yield from [_failed(item, content)] if isinstance(content, DataError) else _images(item, content, reading.frames)


def expected(images: Iterable[Any], reading: Reading) -> int:
    """Return about how many images are in a list of them, with the frames of its videos; 1 for what has no length."""
    total = len(images) if isinstance(images, Sized) else 1
    if isinstance(images, Sequence):
        for image in images:
            if total >= MANY:  # more make no difference
                break
            if isinstance(image, Item) and image.is_video and not image.is_live:
                total += frame_count(image.video, reading) - 1
    return total


def _is_member(image: Any) -> bool:
    return isinstance(image, Item) and image.member is not None and image.read is None


def _may_have_pages(item: Item, frames: bool) -> bool:
    return item.key == STDIN_LABEL or may_have_pages(item.relative, frames)


def _elsewhere(item: Item, frames: bool) -> Iterator[Item]:
    """Yield the pages of an image that is not in a file."""
    assert item.read is not None
    try:
        content = item.read()
    except Exception as error:  # the reader of images says what
        yield _failed(item, error)
    else:
        yield from _images(item, content, frames) if isinstance(content, bytes) else [item._replace(read=partial(_same, content))]


def _images(item: Item, content: Path | bytes, frames: bool) -> Iterator[Item]:
    """Yield the pages of an image, each with a number in its name, or the image itself if it has only one."""
    whole = item._replace(read=lambda: content)
    if not may_have_pages(content, frames):
        yield whole
        return
    number, file = 0, content if isinstance(content, Path) else NamedBytes(content, str(item.key))
    try:
        for number, page in enumerate(pages(file, item.key), 1):
            page_name = f"{number:04d}"
            named = item._replace(
                relative=item.relative / page_name, output=_page_output(item, page_name),
                label=item.key / page_name if isinstance(item.key, Path) else f"{item.key}/{page_name}",
            )  # fmt: skip
            yield _failed(named, page) if isinstance(page, DataError) else named._replace(read=partial(_same, page))
    except DataError as error:
        yield _failed(item, error)
    else:
        if not number:
            yield whole


def _video(item: Item, reading: Reading) -> Iterator[Item]:
    """Yield the frames of a video, numbered from its start."""
    try:
        for found in _ahead(read_frames(item.video, item.output or Path(), item.is_live, reading)):
            if isinstance(found, DataError):
                yield _failed(item, found)
                continue
            frame, pixels = found
            name = f"{frame.number:06d}"
            yield item._replace(
                relative=item.relative / name, read=partial(_same, pixels), output=_page_output(item, name), frame=frame,
                label=item.path / name if item.is_live or isinstance(item.key, Path) else f"{item.key}/{name}",
            )  # fmt: skip
    except DataError as error:
        yield _failed(item, error)


def _ahead(values: Generator[Any]) -> Iterator[Any]:
    """Yield what a generator yields, which runs in a thread, a little ahead."""
    with closing(values), closing(read_ahead(lambda _: next(values, None), count(), 1)) as found:
        yield from takewhile(lambda value: value is not None, found)


def _page_output(item: Item, page_name: str) -> Path | None:
    """Return the path of a page: in a folder of the file's name with its suffix, so that no other image's is like it."""
    if item.output is None:
        return None
    suffix = item.relative.suffix
    name = item.output.name if item.output.name.endswith(suffix) else item.output.name + suffix
    return item.output.with_name(name) / page_name


def _same(page: Any) -> Any:
    return page


def _failed(item: Item, error: Exception) -> Item:
    def read() -> NoReturn:
        raise error

    return item._replace(read=read)
