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

import os
import stat
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from paceline.beneath import FOLDER, OF_THIS_COMPUTER, open_folder
from paceline.errors import UsageError
from paceline.model import SkippedFile, SkipReason, SourceFile
from paceline.roots import is_address
from producers.filters import Filter
from producers.found import GONE, regular, special

_OPEN_FOLDERS = 64
"""Of a deep tree at most this many folders are kept open; the rest is opened again on the way back."""


def walk(
    root: str,
    *,
    after: str | None = None,
    exclude: Collection[str] = (),
    choose: Filter | None = None,
    hidden: bool = False,
    beneath: str = "",
) -> Iterator[SourceFile | SkippedFile]:
    """List the file set at `root`, a folder or a single file, in the module's order.

    `after` is a path of an earlier listing: only what comes behind it is listed. `exclude` holds absolute folders and
    files that are not part of the set (outputs, `PACELINE_HOME`), `choose` what is; with `hidden`, hidden ones too.
    Where `root` is a part of a larger set, `beneath` is its path there: it comes before all paths. Memory is bounded
    by the names of the folders between the root and the present place. Raises `UsageError` if the root can't be read.
    """
    place = Path(root).absolute()
    if not place.is_dir():
        return _single(str(place.parent), place.name, after, beneath, choose)
    top = f"{beneath}/" if beneath else ""
    pick = _Pick(top, _excluded(str(place), exclude, top), choose, hidden)
    return _tree(str(place), () if after is None else path_key(after[len(top) :]), pick)


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


@dataclass(frozen=True, slots=True)
class _Pick:
    """Which names are part of the set. `top` stands before all paths; `apart` are names that aren't, by folder."""

    top: str
    apart: Mapping[str, frozenset[str]]
    choose: Filter | None
    hidden: bool

    def names(self, descriptor: int, prefix: str) -> list[str]:
        """Return those of an open folder, in no order."""
        names = self._chosen(descriptor, prefix, self.choose) if self.choose else os.listdir(descriptor)
        if not self.hidden:
            names = [name for name in names if name[0] != "."]
        if prefix in self.apart:
            names = [name for name in names if name not in self.apart[prefix]]
        return names

    @staticmethod
    def _chosen(descriptor: int, prefix: str, choose: Filter) -> list[str]:
        takes, enters = choose.takes, choose.enters
        with os.scandir(descriptor) as entries:
            return [
                entry.name
                for entry in entries
                if (enters if entry.is_dir(follow_symlinks=False) else takes)(prefix + entry.name)
            ]


def _single(
    folder: str, name: str, after: str | None, beneath: str, choose: Filter | None
) -> Iterator[SourceFile | SkippedFile]:
    path = beneath or name
    if (after is not None and path_key(after) >= path_key(path)) or (choose and not choose.takes(path)):
        return
    try:
        found = Path(folder, name).lstat()
    except OSError as error:
        if not beneath:
            raise UsageError(not_found(f"{folder}/{name}", error)) from error
        yield SkippedFile(path, SkipReason.MISSING if error.errno in GONE else SkipReason.UNREADABLE)
        return
    if stat.S_ISREG(found.st_mode):
        entry = regular(path, found, readable=os.access(f"{folder}/{name}", os.R_OK, effective_ids=True))
    else:
        entry = replace(special(folder, name, found), path=path)
    yield entry


def _tree(root: str, behind: tuple[str, ...], pick: _Pick) -> Iterator[SourceFile | SkippedFile]:
    try:
        stack = [_list(open_folder(root, ""), pick.top, behind, pick)]
    except OSError as error:
        if not pick.top or error.errno in OF_THIS_COMPUTER:
            raise UsageError(not_found(root, error)) from error
        if behind != ("",):
            yield SkippedFile(pick.top[:-1], SkipReason.MISSING if error.errno in GONE else SkipReason.UNREADABLE)
        return
    lstat, access, me = os.stat, os.access, os.geteuid()  # looked up once: this loop is the cost of planning
    try:
        while stack:
            folder = stack[-1]
            descriptor, prefix = folder.descriptor, folder.prefix
            for name in folder.names:
                try:
                    found = lstat(name, dir_fd=descriptor, follow_symlinks=False)
                except OSError as error:
                    if error.errno not in GONE:
                        yield SkippedFile(prefix + name, SkipReason.UNREADABLE)
                    continue
                if stat.S_ISREG(found.st_mode):
                    ours = found.st_uid == me and found.st_mode & stat.S_IRUSR  # saves a call for nearly every file
                    readable = ours or access(name, os.R_OK, dir_fd=descriptor, effective_ids=True)
                    if readable and found.st_size:
                        yield SourceFile(prefix + name, found.st_size, found.st_mtime_ns)
                    else:
                        yield regular(prefix + name, found, readable=bool(readable))
                elif not stat.S_ISDIR(found.st_mode):
                    path = prefix + name
                    yield replace(special(root, path[len(pick.top) :], found), path=path)
                else:
                    yield from _enter(stack, name, pick)
                    if stack[-1] is not folder:
                        break
            else:
                yield from _leave(root, stack, pick)
    finally:
        for folder in stack:
            folder.close()


def _list(descriptor: int, prefix: str, behind: tuple[str, ...], pick: _Pick) -> _Folder:
    """Take over an open folder and sort its names; those that `behind` has passed are left out."""
    try:
        names = sorted(pick.names(descriptor, prefix))
        if behind:
            del names[: bisect_left(names, behind[0])]
            if names and names[0] == behind[0] and not _is_folder(descriptor, names[0]):
                del names[0]
    except BaseException:
        os.close(descriptor)
        raise
    return _Folder(prefix, iter(names), descriptor, behind)


def _enter(stack: list[_Folder], name: str, pick: _Pick) -> Iterator[SkippedFile]:
    """Put a folder on the stack; give its row instead if it can't be read."""
    above = stack[-1]
    behind = above.behind if above.behind[:1] == (name,) else ()
    path = above.prefix + name
    try:
        descriptor = os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=above.descriptor)
        stack.append(_list(descriptor, path + "/", behind[1:], pick))
    except OSError as error:
        if error.errno in OF_THIS_COMPUTER:
            raise
        if error.errno not in GONE and behind != (name,):
            yield SkippedFile(path, SkipReason.UNREADABLE)
    if len(stack) > _OPEN_FOLDERS:
        stack[-_OPEN_FOLDERS - 1].close()


def _leave(root: str, stack: list[_Folder], pick: _Pick) -> Iterator[SkippedFile]:
    """Take a listed folder off the stack and make sure that the one above is open."""
    stack.pop().close()
    while stack and stack[-1].descriptor < 0:
        path = stack[-1].prefix[:-1]
        try:
            stack[-1].descriptor = open_folder(root, path[len(pick.top) :])
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


def _excluded(root: str, places: Collection[str], top: str) -> dict[str, frozenset[str]]:
    """Return the names that are not part of the set, by the prefix of the folder they are in."""
    within = os.path.realpath(root).rstrip("/") + "/"
    found: dict[str, set[str]] = {}
    for place in places:
        path = "/" if is_address(place) else os.path.realpath(place) + "/"
        if path == within:
            raise UsageError(f"{root!r} can't be source and output at once: choose another folder for the output")
        if path.startswith(within):
            folder, slash, name = path.removeprefix(within)[:-1].rpartition("/")
            found.setdefault(top + folder + slash, set()).add(name)
    return {prefix: frozenset(names) for prefix, names in found.items()}


def not_found(text: str, error: OSError | ValueError) -> str:
    """Say why a source can't be used, and what would help."""
    if isinstance(error, PermissionError):
        return f"source {text!r} can't be read: make it readable for this user"
    return f"no such source: {text!r}; check the spelling, or name a folder"
