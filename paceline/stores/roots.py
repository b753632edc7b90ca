"""Read a batch's files from a store: found as planned, opened as planned.

What a store can't tell now, or refuses, is `SourceUnreachable` and pauses the batch: down, denied, a bucket that is
gone. Only a store that answers and has no such object makes a file missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, TypeVar

from paceline.errors import FileChanged, FileMissing, SourceUnreachable, UsageError
from paceline.model import PlannedFile, SourceFile
from paceline.stores.addresses import Address, parse_address
from paceline.stores.clients import NoObject, StoreFailed, asking, client_of, driver
from paceline.stores.objects import Found, look, open_object

AT_ONCE = 16
"""Objects of a submission that are asked after at the same time."""

AnyFile = PlannedFile | SourceFile
Result = TypeVar("Result")


class StoreRoot:
    """A prefix, whose objects' keys are the paths, or one single object, whose path is its name.

    Holds nothing but its address, and may be used from many threads.
    """

    def __init__(self, location: str) -> None:
        self._location = location
        with _reaching(location):
            self._place = parse_address(location)
        self._only = None if self._place.is_prefix else self._place.name

    def check(self, file: AnyFile) -> None:
        """Find the object as planned.

        Raises `FileMissing` if the store has none, `FileChanged` if its size or time differs, `SourceUnreachable`.
        """
        _compare(file, self._ask(file, look))

    def check_all(self, files: Sequence[PlannedFile]) -> None:
        """Find all objects as planned, some at once; raises for the first, in their order, that isn't."""
        check_together(self.check, files)

    def open(self, file: AnyFile) -> IO[bytes]:
        """Open the object for reading, as planned, with one request; raises as `check` does."""
        meta, stream = self._ask(file, open_object)
        return _as_planned(file, meta, stream)

    def _ask(self, file: AnyFile, act: Callable[[Address, str], Result]) -> Result:
        if self._only not in (None, file.path):
            raise FileMissing(f"{file.path!r} is not there: the source is another object", path=file.path)
        shown = f"{self._place.origin}/{self._place.folder}{file.path}"
        with _reaching(file.path):
            address = Address(self._place.scheme, self._place.host, self._place.folder + file.path)
            try:
                return act(address, shown)
            except NoObject as error:
                self._check_reachable()
                raise FileMissing(f"{shown!r} is not there", path=file.path) from error

    def _check_reachable(self) -> None:
        """Raise `StoreFailed` unless the bucket is there and, if the source is a prefix, holds anything at all."""
        if self._place.is_web:
            return
        client = client_of(self._place)
        with asking(self._location):
            some: Sequence[object] = next(iter(driver().list(client, self._place.folder or None, chunk_size=1)), [])
        if not some and self._only is None:
            raise StoreFailed(f"{self._location} is empty: bring its objects back, or check AWS_ENDPOINT_URL")


class UrlsRoot:
    """A set whose paths are whole addresses. Holds nothing, and may be used from many threads."""

    def check(self, file: AnyFile) -> None:
        """Find the file as planned; raises as `StoreRoot.check`."""
        root, one = self._root(file)
        root.check(one)

    def check_all(self, files: Sequence[PlannedFile]) -> None:
        """Find all files as planned, some at once; raises for the first, in their order, that isn't."""
        check_together(self.check, files)

    def open(self, file: AnyFile) -> IO[bytes]:
        """Open the file for reading, as planned; raises as `check` does."""
        root, one = self._root(file)
        return root.open(one)

    def _root(self, file: AnyFile) -> tuple[StoreRoot, SourceFile]:
        try:
            name = parse_address(file.path).name
        except UsageError as error:
            raise FileMissing(str(error), path=file.path) from error
        return StoreRoot(file.path), SourceFile(name, file.size_bytes, file.mtime_ns)


def check_together(check: Callable[[PlannedFile], None], files: Sequence[PlannedFile]) -> None:
    """Check files, `AT_ONCE` at the same time; raises what the first of them, in their order, raises."""
    if len(files) == 1:
        check(files[0])
        return
    pool = ThreadPoolExecutor(min(AT_ONCE, len(files)) or 1)
    try:
        for _ in pool.map(check, files):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _reaching(path: str) -> Iterator[None]:
    try:
        yield
    except StoreFailed as error:
        raise SourceUnreachable(str(error), path=path) from error
    except UsageError as error:  # a worker without the driver, say
        raise SourceUnreachable(str(error), path=path) from error


def _as_planned(file: AnyFile, meta: Found, stream: IO[bytes]) -> IO[bytes]:
    try:
        _compare(file, meta)
    except BaseException:
        stream.close()
        raise
    return stream


def _compare(file: AnyFile, meta: Found) -> None:
    if meta.size_bytes != file.size_bytes:
        raise FileChanged(f"{file.path!r} has {meta.size_bytes} bytes, {file.size_bytes} were planned", path=file.path)
    if meta.mtime_ns != file.mtime_ns:
        raise FileChanged(f"{file.path!r} was modified after it was planned", path=file.path)
