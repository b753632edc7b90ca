"""List a folder lazily, in one stable order, reading no contents.

The order: within a folder by name, character by character as Python compares `str` (for UTF-8 names the order of their
bytes); a folder's files stand where the folder's name stands. In other words, paths are ordered by their components.
So a listing can be taken up behind any path without visiting what came before it.

What is part of the set:

- Regular files. Empty and unreadable ones are rows with a reason, and so is a folder that can't be read.
- A symlink to a regular file beneath the source, with the target's size and time. One that leads out is a row
  `escapes_source`; one that leads nowhere, or in a circle, is `unreadable`.
- A symlink to a folder is a row `not_regular` and isn't entered: what it shows is listed at its own place, and circles
  can't arise. FIFOs, sockets and devices are rows `not_regular` too; nothing is opened to find out.
- Hidden files and folders (a leading dot) are not part of the set, so `.git` and `.DS_Store` are not paid for. A hidden
  file or folder that is named as the source itself is.
- A file that disappears while the listing comes by was not part of the set.
"""

from __future__ import annotations

import errno
import os
import stat
from bisect import bisect_left
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from paceline.beneath import FOLDER, OF_THIS_COMPUTER, open_folder, real_path
from paceline.errors import UsageError
from paceline.model import SkippedFile, SkipReason, SourceFile

_OPEN_FOLDERS = 64
"""Of a deep tree at most this many folders are kept open; the rest is opened again on the way back."""

_GONE = {errno.ENOENT, errno.ENOTDIR}


def walk(root: str, *, after: str | None = None, exclude: Collection[str] = ()) -> Iterator[SourceFile | SkippedFile]:
    """List the file set at `root`, a folder or a single file, in the module's order.

    `after` is a path of an earlier listing: only what comes behind it is listed. `exclude` holds absolute folders that
    are not part of the set (the output, `PACELINE_HOME`). Memory is bounded by the names of the folders between the
    root and the present place. Raises `UsageError` if the root can't be read.
    """
    place = Path(root).absolute()
    if not place.is_dir():
        return _single(str(place.parent), place.name, after)
    return _tree(str(place), () if after is None else path_key(after), _excluded(str(place), exclude))


def path_key(path: str) -> tuple[str, ...]:
    """Return what the order of the listing compares."""
    return tuple(path.split("/"))


@dataclass(slots=True)
class _Folder:
    """A folder being listed. `prefix` is its path and a slash, or empty; `behind` what the names must come behind."""

    prefix: str
    names: Iterator[str]
    descriptor: int
    behind: tuple[str, ...]

    def close(self) -> None:
        """Close the descriptor; it is -1 from then on."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _single(folder: str, name: str, after: str | None) -> Iterator[SourceFile | SkippedFile]:
    if after is not None and after >= name:
        return
    try:
        found = Path(folder, name).lstat()
    except OSError as error:
        raise UsageError(not_found(f"{folder}/{name}", error)) from error
    if stat.S_ISREG(found.st_mode):
        yield _regular(name, found, os.access(f"{folder}/{name}", os.R_OK, effective_ids=True))
    else:
        yield _special(folder, name, found)


def _tree(root: str, behind: tuple[str, ...], excluded: Collection[str]) -> Iterator[SourceFile | SkippedFile]:
    try:
        stack = [_list(open_folder(root, ""), "", behind)]
    except OSError as error:
        raise UsageError(not_found(root, error)) from error
    lstat, access, me = os.stat, os.access, os.geteuid()  # looked up once: this loop is the cost of planning
    try:
        while stack:
            folder = stack[-1]
            descriptor, prefix = folder.descriptor, folder.prefix
            for name in folder.names:
                try:
                    found = lstat(name, dir_fd=descriptor, follow_symlinks=False)
                except OSError as error:
                    if error.errno not in _GONE:
                        yield SkippedFile(prefix + name, SkipReason.UNREADABLE)
                    continue
                if stat.S_ISREG(found.st_mode):
                    ours = found.st_uid == me and found.st_mode & stat.S_IRUSR  # saves a call for nearly every file
                    readable = ours or access(name, os.R_OK, dir_fd=descriptor, effective_ids=True)
                    if readable and found.st_size:
                        yield SourceFile(prefix + name, found.st_size, found.st_mtime_ns)
                    else:
                        yield _unusable(prefix + name, found)
                elif not stat.S_ISDIR(found.st_mode):
                    yield _special(root, prefix + name, found)
                elif prefix + name not in excluded:
                    yield from _enter(stack, name)
                    if stack[-1] is not folder:
                        break
            else:
                yield from _leave(root, stack)
    finally:
        for folder in stack:
            folder.close()


def _list(descriptor: int, prefix: str, behind: tuple[str, ...]) -> _Folder:
    """Take over an open folder and sort its names; those that `behind` has passed are left out."""
    try:
        names = sorted([name for name in os.listdir(descriptor) if name[0] != "."])
        if behind:
            del names[: bisect_left(names, behind[0])]
            if names and names[0] == behind[0] and not _is_folder(descriptor, names[0]):
                del names[0]
    except BaseException:
        os.close(descriptor)
        raise
    return _Folder(prefix, iter(names), descriptor, behind)


def _enter(stack: list[_Folder], name: str) -> Iterator[SkippedFile]:
    """Put a folder on the stack; give its row instead if it can't be read."""
    above = stack[-1]
    behind = above.behind if above.behind[:1] == (name,) else ()
    path = above.prefix + name
    try:
        descriptor = os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=above.descriptor)
        stack.append(_list(descriptor, path + "/", behind[1:]))
    except OSError as error:
        if error.errno in OF_THIS_COMPUTER:
            raise
        if error.errno not in _GONE and behind != (name,):
            yield SkippedFile(path, SkipReason.UNREADABLE)
    if len(stack) > _OPEN_FOLDERS:
        stack[-_OPEN_FOLDERS - 1].close()


def _leave(root: str, stack: list[_Folder]) -> Iterator[SkippedFile]:
    """Take a listed folder off the stack and make sure that the one above is open."""
    stack.pop().close()
    while stack and stack[-1].descriptor < 0:
        path = stack[-1].prefix[:-1]
        try:
            stack[-1].descriptor = open_folder(root, path)
        except OSError as error:
            if error.errno in OF_THIS_COMPUTER:
                raise
            stack.pop()  # moved away or locked while we were below it: the rest of its names can't be read
            yield SkippedFile(path, SkipReason.UNREADABLE)


def _is_folder(descriptor: int, name: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _regular(path: str, found: os.stat_result, readable: bool) -> SourceFile | SkippedFile:
    if found.st_size and readable:
        return SourceFile(path, found.st_size, found.st_mtime_ns)
    return _unusable(path, found)


def _unusable(path: str, found: os.stat_result) -> SkippedFile:
    reason = SkipReason.UNREADABLE if found.st_size else SkipReason.EMPTY
    return SkippedFile(path, reason, found.st_size, found.st_mtime_ns)


def _special(root: str, path: str, found: os.stat_result) -> SourceFile | SkippedFile:
    """Classify what is neither a regular file nor a folder."""
    if not stat.S_ISLNK(found.st_mode):
        return SkippedFile(path, SkipReason.NOT_REGULAR)
    try:
        real = real_path(root, path)
        if real is None:
            return SkippedFile(path, SkipReason.ESCAPES_SOURCE)
        target = Path(root, real).lstat()
        readable = os.access(f"{root}/{real}", os.R_OK, effective_ids=True)
    except OSError as error:
        if error.errno in OF_THIS_COMPUTER:
            raise
        return SkippedFile(path, SkipReason.UNREADABLE)
    if not stat.S_ISREG(target.st_mode):
        return SkippedFile(path, SkipReason.NOT_REGULAR)
    return _regular(path, target, readable)


def _excluded(root: str, folders: Collection[str]) -> frozenset[str]:
    """Return the paths, relative to the root, of those folders that lie beneath it."""
    within = os.path.realpath(root).rstrip("/") + "/"
    places = [os.path.realpath(folder) + "/" for folder in folders]
    if within in places:
        raise UsageError(f"{root!r} can't be source and output at once: choose another folder for the output")
    return frozenset(place.removeprefix(within)[:-1] for place in places if place.startswith(within))


def not_found(text: str, error: OSError | ValueError) -> str:
    """Say why a source can't be used, and what would help."""
    if isinstance(error, PermissionError):
        return f"source {text!r} can't be read: make it readable for this user"
    return f"no such source: {text!r}; check the spelling, or name a folder"
