"""Say what a name that was found in a folder is to the set: a file to be sent, or a row with a reason."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from paceline.beneath import OF_THIS_COMPUTER, real_path
from paceline.model import SkippedFile, SkipReason, SourceFile

GONE = frozenset({errno.ENOENT, errno.ENOTDIR})


def regular(path: str, found: os.stat_result, *, readable: bool) -> SourceFile | SkippedFile:
    """Classify a regular file."""
    if found.st_size and readable:
        return SourceFile(path, found.st_size, found.st_mtime_ns)
    reason = SkipReason.UNREADABLE if found.st_size else SkipReason.EMPTY
    return SkippedFile(path, reason, found.st_size, found.st_mtime_ns)


def special(root: str, path: str, found: os.stat_result) -> SourceFile | SkippedFile:
    """Classify what is neither a regular file nor a folder. A symlink may lead to a regular file beneath `root`."""
    if not stat.S_ISLNK(found.st_mode):
        return SkippedFile(path, SkipReason.NOT_REGULAR)
    return followed(root, path)


def followed(root: str, path: str) -> SourceFile | SkippedFile:
    """Classify what a path with a symlink in it leads to."""
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
    return regular(path, target, readable=readable)
