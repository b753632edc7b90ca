"""Make the transports that requests go through: one that keeps its connection, one for a single request.

A kept connection is httpx's own transport. A single request has no use for its pool, which takes a fifth of the CPU
time of a small POST, so it goes to one `httpcore` connection straight; and its body is never copied where the network
takes only part of a chunk (TLS takes 16 kB at a time).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpcore
import httpx

from paceline.errors import ConfigError

KEEP_ALIVE_S = 30.0

_NAMES = (
    "ConnectError ConnectTimeout LocalProtocolError NetworkError PoolTimeout ProtocolError ProxyError ReadError"
    " ReadTimeout RemoteProtocolError TimeoutException UnsupportedProtocol WriteError WriteTimeout"
)
_AS_HTTPX: dict[type[Exception], type[httpx.TransportError]] = {
    getattr(httpcore, name): getattr(httpx, name) for name in _NAMES.split()
}


def tls_context(base_url: str, ca_file: str | None) -> ssl.SSLContext:
    """Make the context all connections share: loading the authorities takes 20 ms. Raises `ConfigError`."""
    if base_url.startswith("http://"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not used; knows no authority, so would trust nobody
    if ca_file is None:
        return httpx.create_ssl_context(trust_env=False)
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ConfigError(f"the file of certificate authorities can't be read: {ca_file}") from error


def keeping(tls: ssl.SSLContext) -> httpx.BaseTransport:
    """Make a transport with one connection, kept alive."""
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_ALIVE_S)
    return httpx.HTTPTransport(verify=tls, trust_env=False, http2=False, retries=0, limits=limits)


class Single(httpx.BaseTransport):
    """A transport for one request over a fresh connection: no redirects, retries or proxies. Raises httpx's errors."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        self._connection: httpcore.HTTPConnection | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Connect and send; return the answer with its body yet to be read."""
        assert self._connection is None, "one request only"
        assert isinstance(request.stream, httpx.SyncByteStream)
        url = request.url
        core = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        self._connection = httpcore.HTTPConnection(
            core.url.origin, self._tls, http2=False, retries=0, network_backend=_Network()
        )
        with _errors_as_httpx():
            answer = self._connection.handle_request(core)
        return httpx.Response(answer.status, headers=answer.headers, stream=_Stream(answer))

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()


class _Stream(httpx.SyncByteStream):
    """An answer's body."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        with _errors_as_httpx():
            yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


class _Network(httpcore.SyncBackend):
    """Connects as httpcore does."""

    def connect_tcp(self, *args: Any, **options: Any) -> httpcore.NetworkStream:
        return _Wired(super().connect_tcp(*args, **options))


class _Wired(httpcore.NetworkStream):
    """httpcore's stream, but for a write that takes several calls: nothing is copied in between."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner
        self._socket = inner.get_extra_info("socket")

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        left = memoryview(buffer)
        self._socket.settimeout(timeout)
        try:
            while left:
                left = left[self._socket.send(left) :]
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Wired(self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


@contextmanager
def _errors_as_httpx() -> Iterator[None]:
    try:
        yield
    except tuple(_AS_HTTPX) as error:
        raise _AS_HTTPX[type(error)](str(error)) from error
