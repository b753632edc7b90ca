"""One connection at a time, and the means to cut it."""

from __future__ import annotations

import weakref
from typing import Generic, Protocol, TypeVar

from paceline.providers.deadline import Wire


class Closable(Protocol):
    """A transport, as far as a line knows it."""

    def close(self) -> None:
        """Close its connection."""


T = TypeVar("T", bound=Closable)


class Line(Generic[T]):
    """A transport for one connection at a time, and the means to cut that connection.

    `served`: it has carried a request to its end. Closed with the thread that kept it, if not before.
    """

    def __init__(self, transport: T) -> None:
        self.transport = transport
        self.wire = Wire()
        self.served = False
        self.close = weakref.finalize(self, _close, transport, self.wire)


def _close(transport: Closable, wire: Wire) -> None:
    wire.detach()
    transport.close()
