"""A TCP server whose every move is scripted, for the answers that no real server would give.

    with RawServer(lambda peer: (peer.read_head(), peer.reset())) as server:
        Http(server.url, "key").get("/")

The n-th connection is handled by the n-th script, further ones by the last. A script's end closes its connection.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

PATIENCE_S = 10.0
"""No read, write or hang of a script takes longer, so that a test can fail but not hang."""


@dataclass(slots=True)
class Peer:
    """The server's side of one connection. `received` is everything read so far."""

    connection: socket.socket
    over: threading.Event
    received: bytearray = field(default_factory=bytearray)

    def read(self, size_bytes: int = 65_536) -> bytes:
        """Read up to so many bytes; b"" at the client's end."""
        got = self.connection.recv(size_bytes)
        self.received += got
        return got

    def read_exactly(self, size_bytes: int) -> None:
        """Read so many bytes, fewer only if the client ends."""
        while size_bytes > 0 and (got := self.read(min(size_bytes, 65_536))):
            size_bytes -= len(got)

    def read_head(self) -> bytes:
        """Read one request up to the blank line, byte by byte, so that nothing of the body is taken."""
        start = len(self.received)
        while b"\r\n\r\n" not in self.received[start:] and self.read(1):
            pass
        return bytes(self.received[start:])

    def read_request(self) -> tuple[bytes, bytes]:
        """Read one whole request, as head and body."""
        head = self.read_head()
        length = re.search(rb"(?mi)^content-length: (\d+)\r$", head)
        start = len(self.received)
        self.read_exactly(int(length[1]) if length else 0)
        return head, bytes(self.received[start:])

    def read_to_end(self) -> None:
        """Read until the client closes."""
        while self.read():
            pass

    def discard_to_end(self) -> int:
        """Read until the client closes without keeping it; return how many bytes came."""
        buffer = bytearray(1 << 18)
        size = 0
        while got := self.connection.recv_into(buffer):
            size += got
        return size

    def send(self, data: bytes) -> None:
        """Send everything."""
        self.connection.sendall(data)

    def drip(self, data: bytes, interval_s: float = 0.02) -> None:
        """Send byte by byte."""
        for at in range(len(data)):
            self.send(data[at : at + 1])
            if self.over.wait(interval_s):
                return

    def flood(self, data: bytes, times: int) -> None:
        """Send the same again and again, as long as the client takes it."""
        for _ in range(times):
            self.send(data)

    def hang(self) -> None:
        """Keep the connection open and do nothing, until the test is over."""
        self.over.wait(PATIENCE_S)

    def reset(self) -> None:
        """End the connection with RST."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


Script = Callable[[Peer], object]


class RawServer:
    """Listens on 127.0.0.1 while its block runs. `peers` are the connections so far, in order."""

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None, receive_buffer: int | None = None) -> None:
        self._scripts = scripts
        self._tls = tls
        self._listener = socket.socket()
        if receive_buffer is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(16)
        self._over = threading.Event()
        self._news = threading.Condition()
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._threads: list[threading.Thread] = []
        self.port: int = self._listener.getsockname()[1]
        self.peers: list[Peer] = []

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def received(self) -> bytes:
        """What all connections together have read."""
        return b"".join(bytes(peer.received) for peer in self.peers)

    def __enter__(self) -> RawServer:
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        with contextlib.suppress(OSError):  # wakes accept()
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()
        self._listener.close()
        self._acceptor.join(PATIENCE_S)
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.connection.shutdown(socket.SHUT_RDWR)
        self.settle(0)

    def settle(self, connections: int = 1) -> None:
        """Wait until at least so many connections were accepted, and the script of each has returned."""
        with self._news:
            self._news.wait_for(lambda: len(self._threads) >= connections, PATIENCE_S)
        for thread in list(self._threads):
            thread.join(PATIENCE_S)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if self._over.is_set():
                connection.close()
                return
            connection.settimeout(PATIENCE_S)
            peer = Peer(connection, self._over)
            self.peers.append(peer)
            script = self._scripts[min(len(self.peers), len(self._scripts)) - 1]
            thread = threading.Thread(target=self._serve, args=(peer, script), daemon=True)
            thread.start()
            with self._news:
                self._threads.append(thread)
                self._news.notify_all()

    def _serve(self, peer: Peer, script: Script) -> None:
        with contextlib.suppress(OSError):
            if self._tls is not None:
                peer.connection = self._tls.wrap_socket(peer.connection, server_side=True)
            script(peer)
        with contextlib.suppress(OSError):
            peer.connection.close()


def answer(status: int, body: bytes | Any = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """Write an answer; a body that isn't bytes is sent as JSON. Content-Length is exact unless given."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(data)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Words\r\n{head}\r\n".encode() + data


def answering(*answers: bytes) -> Script:
    """Return a script that reads whole requests and gives one answer to each, the last one again and again."""

    def script(peer: Peer) -> None:
        for reply in _and_the_last_forever(answers):
            head, _ = peer.read_request()
            if not head:
                return
            peer.send(reply)

    return script


def _and_the_last_forever(answers: tuple[bytes, ...]) -> Iterator[bytes]:
    yield from answers
    while True:
        yield answers[-1]


def refused_url() -> str:
    """Return an address where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"
