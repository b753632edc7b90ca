"""Reach names beneath a folder without ever leaving it.

Every component is opened from the one before with `O_NOFOLLOW`, so a symlink that appears on the way, however late, is
an error and never a way out; and no path is longer than the kernel takes, however deep the tree.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
OF_THIS_COMPUTER = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Shortages here and now, which say nothing about a file."""

_STEP = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ROOT = _STEP & ~os.O_NOFOLLOW


def open_parent(root: str, path: str) -> tuple[int, str]:
    """Open the folder that holds `path`; return its descriptor, which the caller closes, and the name there.

    Raises `OSError`, also for `..`.
    """
    *folders, name = path.split("/")
    refuse_dots(name)
    descriptor = os.open(root, _ROOT)
    try:
        for folder in folders:
            refuse_dots(folder)
            above, descriptor = descriptor, os.open(folder, _STEP, dir_fd=descriptor)
            os.close(above)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, name


@contextmanager
def parent_of(root: str, path: str) -> Iterator[tuple[int, str]]:
    """Give what `open_parent` opens, and close it."""
    descriptor, name = open_parent(root, path)
    try:
        yield descriptor, name
    finally:
        os.close(descriptor)


def open_folder(root: str, path: str) -> int:
    """Open a folder beneath `root` for listing; `""` is the root itself. Raises `OSError`, also for any symlink."""
    if not path:
        return os.open(root, FOLDER)
    with parent_of(root, path) as (parent, name):
        return os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=parent)


def real_path(root: str, path: str) -> str | None:
    """Resolve all symlinks of `path`; None if it leads out of `root`, `""` if to the root itself.

    Raises `OSError` if it leads nowhere.
    """
    within = os.path.realpath(root, strict=True).rstrip("/") + "/"
    try:
        real = os.path.realpath(f"{root}/{path}", strict=True) + "/"
    except OSError as error:
        if error.errno == errno.EINVAL:  # of `readlink`: what was a symlink a moment ago is none any more
            raise FileNotFoundError(errno.ENOENT, "exchanged while it was looked up", path) from error
        raise
    return real.removeprefix(within)[:-1] if real.startswith(within) else None


def refuse_dots(name: str) -> None:
    """Raise `OSError` for what is no name of anything in a folder."""
    if name in ("", ".", "..") or "\0" in name:
        raise OSError(errno.ENOENT, "not a name", name)
