"""Open the place that a batch's paths are relative to: a folder or file of this machine, or an object store."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Any, Protocol

from paceline.errors import SourceUnreachable
from paceline.files import SourceRoot
from paceline.model import PlannedFile, SourceFile

URLS = "urls:"
"""The location of a set whose paths are whole addresses, of any number of stores."""


class Root(Protocol):
    """Where source files are. May be used from many threads."""

    def check(self, file: PlannedFile | SourceFile) -> None:
        """Find the file as planned. Raises `FileMissing`, `FileChanged`, or `SourceUnreachable` if it can't be told."""

    def check_all(self, files: Sequence[PlannedFile]) -> None:
        """Find all of a submission's files as planned; raises for the first that isn't, as `check` does."""

    def open(self, file: PlannedFile | SourceFile) -> IO[bytes]:
        """Open the file for reading, as planned: what is returned has passed `check`, and raises as that does."""


def is_address(location: str) -> bool:
    """Tell whether a location is an address, not a path of this machine."""
    return "://" in location or location == URLS


def path_order(location: str) -> Callable[[str], Any]:
    """Return what an ordered listing of a source compares: components in a folder, bytes of keys in a store."""
    if is_address(location):
        return lambda path: path.encode("utf-8", "surrogateescape")
    return lambda path: path.split("/")


def open_root(location: str) -> Root:
    """Open a batch's source. Raises `SourceUnreachable` where this machine doesn't have it."""
    if is_address(location):
        from paceline.stores.roots import StoreRoot, UrlsRoot

        return UrlsRoot() if location == URLS else StoreRoot(location)
    if not Path(location).exists():
        raise SourceUnreachable(f"{location!r} is not there on {socket.gethostname()}: mount it", path=location)
    return SourceRoot(location)


def held(root: Root) -> AbstractContextManager[Root]:
    """Give a root for many files in a row, to one thread; see `SourceRoot.held`."""
    return root.held() if isinstance(root, SourceRoot) else nullcontext(root)
