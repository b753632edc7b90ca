"""Open source files safely: beneath their root, regular, and unchanged since they were planned.

Policy for symlinks, the same as when the set was listed: one that leads to a regular file beneath the root is followed;
one that leads out of it is never. A FIFO or a device is recognised without being opened.
"""

from __future__ import annotations

import errno
import io
import os
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import IO, TypeVar

from paceline.beneath import OF_THIS_COMPUTER, open_parent, real_path, refuse_dots
from paceline.errors import FileChanged, FileMissing, FileProblem, SourceUnreachable
from paceline.model import PlannedFile, SourceFile

Result = TypeVar("Result")

_ABOUT_THE_FILE = {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG}
"""What a file or its path can be blamed for. EIO, ESTALE, ENOTCONN and the like come from the disk or the network."""

_LINK_ON_THE_WAY = {errno.ELOOP, errno.ENOTDIR}
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # the last: a FIFO put there this instant can't hang


class SourceRoot:
    """The folder that a batch's paths are relative to; or one single file, whose path is its name.

    Holds no descriptor between calls and may be used from many threads, but for one that is `held`. A shortage on this
    computer (no descriptors left, no memory) is raised as `OSError`: it says nothing about the file. Nor does a root
    that is gone, can't be listed or is empty (a mount point with nothing mounted), or a disk that fails: that is
    `SourceUnreachable`.
    """

    def __init__(self, root: str) -> None:
        place = Path(root).absolute()
        self._place = str(place)
        self._only = None if place.is_dir() else place.name
        self._folder = str(place if self._only is None else place.parent)
        self._held: _Held | None = None

    @contextmanager
    def held(self) -> Iterator[SourceRoot]:
        """Give this root for many files in a row, to one thread: it keeps open the folder that the last one was in.

        A folder that is moved away meanwhile is still the one that is read from, as long as its files are as planned;
        and as long as it is held, what it is on can't be unmounted.
        """
        root = copy(self)
        root._held = _Held()
        try:
            yield root
        finally:
            root._held.let_go()

    def check(self, file: PlannedFile | SourceFile) -> None:
        """Find the file as planned, without opening it.

        Raises `FileMissing` if it is gone, unreadable, not regular or leads out of the root, `FileChanged` if its size
        or modification time differs, `SourceUnreachable` if that can't be told.
        """
        self._at_its_place(file, _check)

    def check_all(self, files: Sequence[PlannedFile]) -> None:
        """Find all files as planned; raises for the first that isn't."""
        for file in files:
            self.check(file)

    def open(self, file: PlannedFile | SourceFile) -> IO[bytes]:
        """Open the file for reading, as planned. Raises as `check` does; what is returned has passed it."""
        # Without a buffer: everybody reads whole blocks, and of 300 small files each would pay for one.
        return io.FileIO(self._at_its_place(file, _open))

    def read(self, file: PlannedFile | SourceFile) -> bytes:
        """Return all bytes of a file that fits in memory; raises as `check` does, also if it changes meanwhile."""
        return self._at_its_place(file, _read)

    def _at_its_place(
        self, file: PlannedFile | SourceFile, act: Callable[[PlannedFile | SourceFile, int, str], Result]
    ) -> Result:
        if self._only not in (None, file.path):
            self._check_reachable(file)
            raise FileMissing(f"{file.path!r} is not there: the source is another file", path=file.path)
        try:
            try:
                return self._reach(file.path, file, act)
            except OSError as error:
                if error.errno not in _LINK_ON_THE_WAY:
                    raise
            real = real_path(self._folder, file.path)
            if real is None:
                raise FileMissing(f"{file.path!r} leads out of the source", path=file.path)
            return self._reach(real, file, act)
        except OSError as error:
            if error.errno in OF_THIS_COMPUTER:
                raise
            if error.errno not in _ABOUT_THE_FILE:
                raise self._unreachable(file, f"doesn't answer ({error.strerror})") from error
            self._check_reachable(file)
            raise FileMissing(f"{file.path!r} can't be read: {error.strerror}", path=file.path) from error

    def _check_reachable(self, file: PlannedFile | SourceFile) -> None:
        """Raise `SourceUnreachable` unless the root is there and, if a folder, holds anything at all."""
        try:
            if not stat.S_ISDIR(os.stat(self._place).st_mode):  # noqa: PTH116 - like the other calls here
                return
            with os.scandir(self._place) as entries:
                empty = next(entries, None) is None
        except OSError as error:
            if error.errno in OF_THIS_COMPUTER:
                raise
            raise self._unreachable(file, f"can't be listed ({error.strerror})") from error
        if empty:
            raise self._unreachable(file, "is empty")

    def _unreachable(self, file: PlannedFile | SourceFile, why: str) -> SourceUnreachable:
        text = f"source {self._place!r} {why} on {socket.gethostname()}: mount it there or mend its disk, then resume"
        return SourceUnreachable(text, path=file.path)

    def _reach(
        self,
        path: str,
        file: PlannedFile | SourceFile,
        act: Callable[[PlannedFile | SourceFile, int, str], Result],
    ) -> Result:
        above = path[: path.rfind("/") + 1]  # with its slash: "/a" is no name beneath the root
        held = self._held
        if held is not None and held.path == above:
            name = path[len(above) :]
            try:
                refuse_dots(name)
                return act(file, held.descriptor, name)
            except (OSError, FileProblem):
                pass  # there may be another folder in its place by now: that one counts for what isn't as planned
        folder, name = open_parent(self._folder, path)
        try:
            return act(file, folder, name)
        finally:
            if held is None:
                os.close(folder)
            else:
                held.take(above, folder)


class _Held:
    """An open folder beneath a root, and its path there."""

    def __init__(self) -> None:
        self.path: str | None = None
        self.descriptor = -1

    def take(self, path: str, descriptor: int) -> None:
        """Hold this folder and no other."""
        self.let_go()
        self.path, self.descriptor = path, descriptor

    def let_go(self) -> None:
        """Hold none."""
        if self.path is not None:
            self.path = None
            os.close(self.descriptor)


def _check(file: PlannedFile | SourceFile, folder: int, name: str) -> None:
    _compare(file, os.stat(name, dir_fd=folder, follow_symlinks=False))
    if not os.access(name, os.R_OK, dir_fd=folder, effective_ids=True):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), name)


def _open(file: PlannedFile | SourceFile, folder: int, name: str) -> int:
    descriptor = _opened(file, folder, name)
    try:
        _compare(file, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _opened(file: PlannedFile | SourceFile, folder: int, name: str) -> int:
    """Open what was the file a moment ago; whoever calls looks once more at what that was."""
    _compare(file, os.stat(name, dir_fd=folder, follow_symlinks=False))
    return os.open(name, _READ, dir_fd=folder)


def _read(file: PlannedFile | SourceFile, folder: int, name: str) -> bytes:
    descriptor = _opened(file, folder, name)
    try:
        try:
            data = _all(descriptor, file.size_bytes)
        except OSError:
            _compare(file, os.fstat(descriptor))
            raise
        _compare(file, os.fstat(descriptor))  # of what was opened, had it been exchanged after the first look
    finally:
        os.close(descriptor)
    if len(data) != file.size_bytes:
        raise FileChanged(f"{file.path!r} gave {len(data)} bytes, {file.size_bytes} were planned", path=file.path)
    return data


def _all(descriptor: int, size_bytes: int) -> bytes:
    """Read all that is there, but hardly more than `size_bytes`."""
    data = os.read(descriptor, size_bytes + 1)
    while len(data) < size_bytes and (more := os.read(descriptor, size_bytes + 1 - len(data))):
        data += more
    return data


def _compare(file: PlannedFile | SourceFile, found: os.stat_result) -> None:
    regular = stat.S_ISREG(found.st_mode)
    if regular and found.st_size == file.size_bytes and found.st_mtime_ns == file.mtime_ns:
        return
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), file.path)
    if not regular:
        raise FileMissing(f"{file.path!r} is no longer a regular file", path=file.path)
    if found.st_size != file.size_bytes:
        raise FileChanged(f"{file.path!r} has {found.st_size} bytes, {file.size_bytes} were planned", path=file.path)
    raise FileChanged(f"{file.path!r} was modified after it was planned", path=file.path)
