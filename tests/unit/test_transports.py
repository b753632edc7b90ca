"""The transport for one request: every error has its name, and a body goes out whole however little is taken of it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable

import httpcore
import httpx
import pytest

from paceline.providers.transports import Single, tls_context
from tests.support.raw_server import Peer, RawServer, answer

UNKNOWN_TO_BOTH = {"ConnectionNotAvailable"}  # of a pool's connections, which one request never meets


def every_error() -> list[type[Exception]]:
    """List what httpcore says that it raises."""
    exported = [getattr(httpcore, name) for name in httpcore.__all__]
    return [kind for kind in exported if isinstance(kind, type) and issubclass(kind, Exception)]


def ask(transport: httpx.BaseTransport, url: str, body: bytes = b"", **timeouts: float) -> bytes:
    limits = {name: timeouts.get(name, 20.0) for name in ("connect", "read", "write", "pool")}
    request = httpx.Request("POST", url, content=body, extensions={"timeout": limits})
    response = transport.handle_request(request)
    try:
        return response.read()
    finally:
        response.close()
        transport.close()


def single() -> Single:
    return Single(tls_context("http://localhost", None))


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_each_of_httpcores_errors_is_httpxs_of_the_same_name(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise kind("the text")

    monkeypatch.setattr(httpcore.HTTPConnection, "handle_request", fail)
    expected = kind if kind.__name__ in UNKNOWN_TO_BOTH else getattr(httpx, kind.__name__)
    with pytest.raises(expected) as caught:
        ask(single(), "http://localhost")
    assert type(caught.value) is expected


def test_an_answer_that_breaks_off_is_httpxs_error_too() -> None:
    def script(peer: Peer) -> None:
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    with RawServer(script) as server, pytest.raises(httpx.RemoteProtocolError):
        ask(single(), server.url)


def sip(into: list[bytes]) -> Callable[[Peer], None]:
    """Return a script that reads a whole request in sips, and answers."""

    def script(peer: Peer) -> None:
        head = peer.read_head()
        left = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while left and (got := peer.connection.recv(min(left, 5_000))):
            into.append(got)
            left -= len(got)
        peer.send(answer(200, {}))

    return script


def test_a_body_of_which_little_is_taken_at_a_time_arrives_whole() -> None:
    body = bytes(range(256)) * 20_000
    received: list[bytes] = []
    with RawServer(sip(received)) as server:
        assert ask(single(), server.url, body) == b"{}"
    assert b"".join(received) == body


def test_who_takes_nothing_more_runs_into_the_write_timeout() -> None:
    over = threading.Event()

    def stop_reading(peer: Peer) -> None:
        peer.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        over.wait(20)

    with RawServer(stop_reading) as server:
        try:
            with pytest.raises(httpx.WriteTimeout):
                ask(single(), server.url, bytes(50_000_000), write=0.2)
        finally:
            over.set()


def test_it_carries_one_request_only() -> None:
    with RawServer(sip([])) as server:
        transport = single()
        ask(transport, server.url)
        with pytest.raises(AssertionError):
            ask(transport, server.url)


def test_plain_http_trusts_nobody() -> None:
    context = tls_context("http://localhost", None)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.cert_store_stats()["x509_ca"] == 0
