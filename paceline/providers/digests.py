"""Compute the SHA-256 of files while they are sent.

Those of large files are computed in a thread of their own: hashing leaves the interpreter to others, and takes as
long as all the rest of an upload on a fast line. For small files a thread is a loss. They are opened, read and closed
with a dozen system calls each, the interpreter changes hands at every one, and 300 files of 20 kB took 20 ms instead of
12 on two idle cores. For files of 50 kB it was no matter; from 100 kB on, an upload was a quarter faster.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from queue import SimpleQueue
from threading import Thread
from typing import Protocol

THREAD_BYTES = 1 << 20
"""From this size on a body may have a thread for its digests; to start it costs as much as hashing 100 kB."""
LARGE_FILE_BYTES = 100_000
"""How large its files have to be for it, on average."""
AHEAD = 2
"""How many groups may wait to be hashed: with the one at work and the one being sent, all that is in memory."""

Piece = tuple[bytes, bool]
"""Bytes of a file, and whether it ends with them."""


class Digests(Protocol):
    """The digests of files whose pieces are given in order. `found` is complete after `finish`."""

    found: list[bytes]

    def add(self, pieces: Iterable[Piece]) -> None:
        """Take a group of pieces; may wait until earlier ones are hashed. Raises what made hashing fail."""

    def finish(self) -> None:
        """Wait until everything is hashed, raising what made it fail. Doing it again does nothing."""


def digests_for(size_bytes: int, files: int) -> Digests:
    """Return the way to hash a body of this size with so many files."""
    if size_bytes < max(THREAD_BYTES, files * LARGE_FILE_BYTES):
        return AtOnce()
    try:
        return Beside()
    except RuntimeError:  # no more threads: the request has begun, and to break it off would leave it in doubt
        return AtOnce()


class AtOnce:
    """Hashes in the thread that gives the pieces."""

    def __init__(self) -> None:
        self.found: list[bytes] = []
        self._file: hashlib._Hash | None = None  # one that began and hasn't ended

    def add(self, pieces: Iterable[Piece]) -> None:
        """Hash a group of pieces."""
        for chunk, ends in pieces:
            if self._file is None:
                file = hashlib.sha256(chunk)
            else:
                file = self._file
                file.update(chunk)
            if ends:
                self.found.append(file.digest())
            self._file = None if ends else file

    def finish(self) -> None:
        """Do nothing: all is hashed."""


class Beside:
    """Hashes in a thread of its own, which ends with `finish`."""

    def __init__(self) -> None:
        self._hasher = AtOnce()
        self.found = self._hasher.found
        self._groups: SimpleQueue[Iterable[Piece] | None] = SimpleQueue()
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._waiting = 0
        self._thread = Thread(target=self._work, name="paceline-digests", daemon=True)
        self._thread.start()

    def add(self, pieces: Iterable[Piece]) -> None:
        """Leave a group to the thread; wait while `AHEAD` others are before it."""
        if self._waiting > AHEAD:
            self._take_one()
        self._waiting += 1
        self._groups.put(pieces)

    def finish(self) -> None:
        """Wait for the thread's end."""
        self._groups.put(None)
        self._thread.join()
        while self._waiting:
            self._take_one()

    def _take_one(self) -> None:
        self._waiting -= 1
        error = self._done.get()
        if error is not None:
            self._waiting = 0
            raise error

    def _work(self) -> None:
        while (group := self._groups.get()) is not None:
            try:
                self._hasher.add(group)
            except BaseException as error:  # noqa: BLE001 - it is raised where the pieces come from
                self._done.put(error)
                return
            self._done.put(None)
