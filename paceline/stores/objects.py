"""Look at one object, and read it in constant memory."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from paceline.stores.addresses import Address
from paceline.stores.clients import asking, client_of, driver

PIECE_BYTES = 1 << 20
"""What is taken from the connection at once; as much again may wait in the driver."""


@dataclass(frozen=True, slots=True)
class Found:
    """An object as a store shows it now. `mtime_ns` is in whole seconds: listings know more than answers do."""

    size_bytes: int
    mtime_ns: int


def found(meta: Mapping[str, Any]) -> Found:
    """Return what the driver's metadata say. A web server that names no time gives 0."""
    return Found(int(meta["size"]), int(meta["last_modified"].timestamp()) * 10**9)


def look(address: Address, shown: str) -> Found:
    """Ask after an object. Raises `NoObject`, or `StoreFailed`; `shown` is what they call it."""
    client = client_of(address)
    with asking(shown):
        return found(driver().head(client, address.key))


def open_object(address: Address, shown: str) -> tuple[Found, BinaryIO]:
    """Open an object for reading once, from its beginning; raises as `look` does.

    One request is one version of it: where the driver has to ask again in the middle, it asks for the same version.
    Reads raise `StoreFailed`.
    """
    client = client_of(address)
    with asking(shown):
        answer = driver().get(client, address.key)
        raw = _Reading(iter(answer.stream(PIECE_BYTES)), shown)
        return found(answer.meta), cast("BinaryIO", io.BufferedReader(raw, PIECE_BYTES // 4))


class _Reading(io.RawIOBase):
    """The rest of an answer. Closing it lets go of the connection, whatever is left."""

    def __init__(self, pieces: Iterator[bytes], shown: str) -> None:
        self._pieces: Iterator[bytes] = pieces
        self._shown = shown
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._rest:
            with asking(self._shown):
                piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        into = memoryview(buffer).cast("B")
        size = min(len(into), len(self._rest))
        into[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def close(self) -> None:
        self._pieces = iter(())
        self._rest = memoryview(b"")
        super().close()
