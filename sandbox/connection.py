"""uvicorn's h11 protocol, with a hand on the socket: what a gateway, a crash or a broken line does to a client.

Answers that HTTP allows go through ASGI as usual. Everything else (silence, resets, half an answer, an answer before
the request was read) is written to the transport past h11, after which the ASGI call returns without answering.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import time
from typing import Any

from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

# How long, and for how much, a client that was answered early may go on sending before it is cut off. Closing at once
# would reset the connection, and a reset can overtake the answer.
LINGER_S = 3.0
LINGER_BYTES = 16_000_000

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: close() sends RST
_LAST_RECEIVED = slice(52, 56)
"""Linux's tcpi_last_data_recv in TCP_INFO: milliseconds, counted in the kernel's ticks."""
_TICK_S = 0.01

_OVER = {7, 8, 11}  # Linux's TCP_CLOSE, TCP_CLOSE_WAIT, TCP_CLOSING: the client has left


class Connection(H11Protocol):
    """One client's connection; a request finds it in its scope, with the time its headers arrived."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, "connection": self}, _loop)
        self.lost = asyncio.Event()
        self._discarded: int | None = None

    def data_received(self, data: bytes) -> None:
        if self._discarded is not None:
            self._discarded += len(data)
            if self._discarded > LINGER_BYTES:
                self.reset()
            return
        # Copied into the scope if this completes a request's headers.
        self.app_state["arrived_s"] = time.monotonic() - self._lay_s()
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.lost.set()
        self.app_state = {}

    @property
    def gone(self) -> bool:
        """Whether nothing can be sent any more; also notices a client that left while reading is paused (Linux)."""
        if self.lost.is_set() or self.transport.is_closing():
            return True
        sock: socket.socket | None = self.transport.get_extra_info("socket")
        if sock is None or not hasattr(socket, "TCP_INFO"):
            return False
        try:
            return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _OVER
        except OSError:
            return True

    def _lay_s(self) -> float:
        """Return how long the newest data lay in the kernel: on a busy machine this process may have slept meanwhile.

        Nobody who sends in time is to be told of a 429 for that. Less than a tick counts as nothing.
        """
        sock: socket.socket | None = self.transport.get_extra_info("socket")
        if sock is None or sys.platform != "linux":
            return 0.0
        try:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_RECEIVED.stop)
        except OSError:
            return 0.0
        told = info[_LAST_RECEIVED]
        return max(int.from_bytes(told, sys.byteorder) / 1000 - _TICK_S, 0.0) if len(told) == 4 else 0.0

    async def write(self, data: bytes) -> None:
        """Write past h11, waiting while the client doesn't read."""
        if self.flow.write_paused:
            await self.flow.drain()
        if not self.transport.is_closing():
            self.transport.write(data)

    def take_over(self) -> None:
        """Tell uvicorn that this request gets no answer from it."""
        if self.cycle is not None:
            self.cycle.disconnected = True

    def drop(self) -> None:
        """Close what was said so far and say no more (FIN; the system makes it RST when unread bytes are waiting)."""
        self.take_over()
        self.transport.close()

    def reset(self) -> None:
        """Break the connection (RST), throwing away what wasn't sent."""
        self.take_over()
        sock: socket.socket | None = self.transport.get_extra_info("socket")
        if sock is not None and not self.transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()

    def hang_up(self) -> None:
        """End an answer that came before the request was read: send FIN, then ignore what the client still sends."""
        self.take_over()
        if self.transport.is_closing():
            return
        self._discarded = 0
        self.flow.resume_reading()
        self.transport.write_eof()
        self.loop.call_later(LINGER_S, self.transport.close)


def connection_of(scope: Scope) -> Connection:
    """Find the connection a request came by."""
    connection: Connection = scope["state"]["connection"]
    return connection
