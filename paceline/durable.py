"""Make files that are either there as a whole or not at all.

Everything is written aside in the same folder, fsynced, renamed, and the folder fsynced. Files are 0600 and folders
0700 whatever the umask. A writer holds a lock on its aside, so what a crashed one left can be told from what a living
one is writing, without clocks and without process ids.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from paceline.errors import SinkBusy, SinkError

ASIDE = ".aside"
"""How the names of unfinished files end; they begin with a dot."""

_BUFFER_BYTES = 1 << 18
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Turn an `OSError` of the block into a `SinkError` that names `path` and the remedy."""
    try:
        yield
    except OSError as error:
        raise SinkError(_explain(path, error)) from error


def make_private_dir(path: str) -> None:
    """Make a folder and its missing parents, 0700 each; an existing one is left as it is. Raises `SinkError`."""
    with writing(path):
        private_dir(Path(path).absolute())


def private_dir(path: Path) -> None:
    """Do the same for a folder that is no sink's: `path` is absolute. Raises `OSError`."""
    if path.is_dir():
        return
    private_dir(path.parent)
    try:
        path.mkdir(0o700)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    path.chmod(0o700)
    sync_dir(str(path.parent))


def open_private(path: str) -> int:
    """Open a file for reading and writing, made 0600 if it is missing, and return its descriptor."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


def replace_atomically(path: str, chunks: Iterable[bytes]) -> None:
    """Put a file in place durably: whoever opens `path`, even after a power cut, finds the old or the new content.

    Raises `SinkError`; the old file stays then.
    """
    with writing(path), Aside(path) as aside:
        for chunk in chunks:
            aside.write(chunk)
        aside.seal()
        aside.publish()
        sync_dir(str(Path(path).absolute().parent))


def try_writing(folder: str) -> None:
    """Write a little into a folder and take it away again. Raises `SinkError`."""
    with writing(folder), Aside(str(Path(folder, "trial"))) as trial:
        trial.write(b"0" * 4096)
        trial.seal()
    remove_leftovers(folder)


def remove_durably(path: str) -> None:
    """Remove a file if it is there, durably. Raises `SinkError`."""
    with writing(path):
        try:
            Path(path).unlink()
        except FileNotFoundError:
            return
        sync_dir(str(Path(path).absolute().parent))


def sync_dir(path: str) -> None:
    """Make renames and removals within a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: str, of: str = "") -> int:
    """Remove the asides of writers that have died and return how many. Those of living writers stay.

    In a folder that isn't ours, `of` names the one file whose asides may be removed.
    """
    removed = 0
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(ASIDE) and entry.name.startswith(f".{of}." if of else "."):
                removed += _remove_if_abandoned(entry.path)
    return removed


@contextmanager
def alone_in(folder: str) -> Iterator[None]:
    """Hold the folder's own lock, which leaves no file behind. Raises `SinkBusy` if somebody else on this host does."""
    with writing(folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SinkBusy(f"another process is committing to {folder}: wait for it") from error
        except OSError:  # a file system without locks: `still_open` alone has to do
            pass
        yield
    finally:
        os.close(descriptor)


class Aside:
    """A file being written beside the place it is for. Leaving the block before `publish` discards it.

    Raises plain `OSError`: callers wrap in `writing`.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path).absolute()
        self._published = False
        descriptor, self._aside = _create(self._path)
        self._file = os.fdopen(descriptor, "wb", buffering=_BUFFER_BYTES)
        self.write = self._file.write

    def seal(self) -> None:
        """Bring all bytes to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def publish(self, path: str | None = None) -> None:
        """Rename to the final place, or another in its folder; durable once that is synced. Only after `seal`."""
        self._aside.replace(path or self._path)
        self._published = True
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._published:
            return
        with suppress(OSError):  # gone already, or a disk without room even for what is buffered
            self._aside.unlink()
        with suppress(OSError):
            self._file.close()


def _create(path: Path) -> tuple[int, Path]:
    while True:
        aside = path.with_name(f".{path.name}.{secrets.token_hex(6)}{ASIDE}")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.fchmod(descriptor, 0o600)
        with suppress(OSError):  # a file system without locks: its leftovers are never taken for abandoned
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, aside
        os.close(descriptor)  # taken for a leftover between the two calls


def _remove_if_abandoned(path: str) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        Path(path).unlink()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _explain(path: str, error: OSError) -> str:
    shown = os.fsencode(path).decode("utf-8", "backslashreplace")
    if error.errno in _FULL:
        return f"no room to write {shown}: free some space there, then run the same command again"
    if error.errno in _FORBIDDEN:
        return f"not allowed to write {shown}: make the folder writable for this user, or choose another --to"
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return f"can't write {shown}: a file stands where a folder is needed; move it away, or choose another --to"
    return f"can't write {shown}: {error.strerror or type(error).__name__}; mend that, then run the same command again"
