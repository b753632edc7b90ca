"""A way to a real service on which things go wrong, so that every provider can be tried with the same mishaps.

    with Crooked(service.url) as way:
        provider = bench.open(way.url)
        way.trick = accepted_then(dropped)
        provider.submit(...)  # the service has started a run; nobody hears of it

A trick gets the `Request` and decides what becomes of it: handed on, answered in the service's place, or broken off. It
ends its connection; honest ones are kept alive.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from tests.support.raw_server import PATIENCE_S, Peer, RawServer, answer


@dataclass(frozen=True, slots=True)
class Reply:
    """What the service answered."""

    status: int
    body: bytes


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: object) -> io.BytesIO:
        return io.BytesIO(self._data)


class Request:
    """A request whose head has arrived; the body is still on its way."""

    def __init__(self, peer: Peer, head: bytes, target: tuple[str, int]) -> None:
        self.peer = peer
        self.head = head
        self._target = target

    @property
    def method(self) -> str:
        return self.head.split(b" ", 1)[0].decode()

    @property
    def length(self) -> int:
        found = re.search(rb"(?mi)^content-length: (\d+)\r$", self.head)
        return int(found[1]) if found else 0

    def read_body(self) -> bytes:
        """Read the rest of the request."""
        start = len(self.peer.received)
        self.peer.read_exactly(self.length)
        return bytes(self.peer.received[start:])

    def hand_on(self) -> Reply:
        """Let the service have the whole request; return its answer. Raises `OSError` where the client leaves."""
        body = self.read_body()
        head = (
            re.sub(rb"(?mi)^connection:[^\r]*\r\n", b"", self.head).removesuffix(b"\r\n") + b"Connection: close\r\n\r\n"
        )
        with socket.create_connection(self._target, PATIENCE_S) as beyond:
            beyond.settimeout(PATIENCE_S)
            beyond.sendall(head + body)
            if len(body) < self.length:
                raise ConnectionAbortedError("the client left in the middle of its request")
            raw = b"".join(iter(lambda: beyond.recv(65_536), b""))
        response = http.client.HTTPResponse(_Bytes(raw), method=self.method)  # type: ignore[arg-type]  # all it needs
        response.begin()
        return Reply(response.status, response.read())


Trick = Callable[[Request], object]
Ending = Callable[[Peer, Reply], object]


def honest(request: Request) -> None:
    """Hand the request on and the answer back."""
    reply = request.hand_on()
    request.peer.send(answer(reply.status, reply.body))


class Crooked:
    """Listens on 127.0.0.1 while its block runs. `heads` are those of all requests so far, in order of arrival."""

    def __init__(self, url: str, *, receive_buffer: int | None = None) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 80)
        self._server = RawServer(self._serve, receive_buffer=receive_buffer)
        self.url = self._server.url
        self.trick: Trick = honest
        self.heads: list[bytes] = []

    def __enter__(self) -> Crooked:
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.__exit__(kind, error, traceback)

    @property
    def received(self) -> bytes:
        """Every byte that clients have sent."""
        return self._server.received

    @property
    def connections(self) -> int:
        """How many connections clients have made."""
        return len(self._server.peers)

    @contextlib.contextmanager
    def playing(self, trick: Trick) -> Iterator[None]:
        """Play a trick while the block runs."""
        self.trick = trick
        try:
            yield
        finally:
            self.trick = honest

    def methods(self, since: int = 0) -> list[str]:
        """Return the methods of the requests after the first so many."""
        return [head.split(b" ", 1)[0].decode() for head in self.heads[since:]]

    def wait_for_connections(self, number: int) -> None:
        """Wait until so many were made, or patience ends."""
        deadline = time.monotonic() + PATIENCE_S
        while self.connections < number and time.monotonic() < deadline:
            time.sleep(0.005)

    def _serve(self, peer: Peer) -> None:
        trick: Trick = honest
        while trick is honest and (head := peer.read_head()).endswith(b"\r\n\r\n"):
            self.heads.append(head)
            trick = self.trick
            trick(Request(peer, head, self._target))


def said(status: int, body: bytes | Any = b"", **headers: str) -> Trick:
    """Answer in the service's place; `_` in a header's name stands for `-`."""
    raw = answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()})

    def trick(request: Request) -> None:
        request.read_body()
        request.peer.send(raw)

    return trick


def unread(request: Request) -> None:
    """Close the connection when the head has arrived."""


def cut_in_half(request: Request) -> None:
    """Reset the connection when half of the body has arrived."""
    request.peer.read_exactly(request.length // 2)
    request.peer.reset()


def reset_early(request: Request) -> None:
    """Reset the connection when the first bytes of the body have arrived."""
    request.peer.read_exactly(1000)
    request.peer.reset()


def silent(request: Request) -> None:
    """Take everything and say nothing."""
    request.read_body()
    request.peer.hang()


def accepted_then(ending: Ending) -> Trick:
    """Let the service do its work, and end otherwise than with its answer."""
    return lambda request: ending(request.peer, request.hand_on())


def then_said(status: int, body: bytes | Any = b"") -> Trick:
    """Let the service do its work, and answer something else."""
    return accepted_then(lambda peer, _: peer.send(answer(status, body)))


def rewritten(change: Callable[[Any], Any]) -> Trick:
    """Change the JSON that the service answers, wherever it is a success."""

    def ending(peer: Peer, reply: Reply) -> None:
        good = reply.status < 300 and reply.body
        peer.send(answer(reply.status, change(json.loads(reply.body)) if good else reply.body))

    return accepted_then(lambda peer, reply: ending(peer, reply))


def dropped(peer: Peer, reply: Reply) -> None:
    """Say nothing."""


def reset(peer: Peer, reply: Reply) -> None:
    """End with RST."""
    peer.reset()


def hanging(peer: Peer, reply: Reply) -> None:
    """Keep silent."""
    peer.hang()


def truncated(peer: Peer, reply: Reply) -> None:
    """Announce the whole answer and send half of it."""
    peer.send(answer(reply.status, reply.body[: len(reply.body) // 2], {"Content-Length": str(len(reply.body))}))


def halved(peer: Peer, reply: Reply) -> None:
    """Send half of the answer as if it were all."""
    peer.send(answer(reply.status, reply.body[: len(reply.body) // 2]))


def dripping(peer: Peer, reply: Reply) -> None:
    """Send the answer byte by byte, so slowly that no single read is late."""
    peer.drip(answer(reply.status, reply.body + b" " * 10_000), 0.05)


def padded(size_bytes: int) -> Ending:
    """Send the answer with so many spaces behind it, and don't announce its length."""

    def ending(peer: Peer, reply: Reply) -> None:
        peer.send(f"HTTP/1.1 {reply.status} Words\r\nConnection: close\r\n\r\n".encode())
        peer.send(reply.body + b" " * size_bytes)

    return ending
