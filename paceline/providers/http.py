"""Carry one request to a provider, under one policy for all of them.

The only module that knows httpx. Its client is left out on purpose: requests go straight to the transport, so there are
no redirects, retries, cookies, proxies from the environment or log lines with whole URLs to switch off.

    POST     a fresh connection each; `gate` is asked when it stands and nothing has been sent; never repeated
    GET      a connection per thread, kept alive; repeated once if a kept one turns out dead before it answers
    DELETE   like GET: deleting twice is harmless

Every exchange has a deadline as a whole, and every answer a cap.
"""

from __future__ import annotations

import contextlib
import logging
import ssl
import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

import httpx

from paceline.clocks import boottime
from paceline.errors import (
    Ambiguous,
    AnswerTooLarge,
    ConfigError,
    FileProblem,
    NotSent,
    ProviderError,
    Unavailable,
    Unreachable,
)
from paceline.providers.address import checked_url, key_now
from paceline.providers.answers import (
    Answer,
    Gatherer,
    TooLarge,
    Unreadable,
    excerpt,
    read_error,
    retry_after_s,
    write_error,
)
from paceline.providers.deadline import Deadline, DeadlinePassed, Watchdog
from paceline.providers.line import Line
from paceline.providers.policy import Body, Gate, Listener, Params
from paceline.providers.policy import HttpPolicy as HttpPolicy

# Their INFO and DEBUG lines carry URLs with queries, and headers of answers.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

ERROR_BYTES = 64 * 1024
"""How much of an error's body is looked at; the status line alone decides what it means."""
ACCEPTED_BYTES = 1_000_000  # a write's answer names the run and holds no results, and many come at once
SLICE_BYTES = 256 * 1024
"""A body that is in memory is handed over in such slices, so that its deadline is looked at in between."""
KEEP_ALIVE_S = 30.0
_parsed = lru_cache(64)(httpx.URL)  # a worker posts to a few addresses only, and parsing one takes 25 µs
_FOREIGN = (httpx.HTTPError, httpx.InvalidURL, httpx.CookieConflict, httpx.StreamError)
_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)


class Http:
    """One provider's address under one key. Thread-safe; no connection is ever seen by two threads.

    `base_url` is https, or http on loopback, or http anywhere with `allow_http`; else `ConfigError`. `key` is asked for
    at every request where it is callable, is never kept elsewhere, and is in no repr, log line or error. None: none.
    """

    def __init__(
        self,
        base_url: str,
        key: str | Callable[[], str] | None,
        policy: HttpPolicy | None = None,
        *,
        allow_http: bool = False,
        clock: Callable[[], float] = boottime,
        transport: Callable[[], httpx.BaseTransport] | None = None,
    ) -> None:
        self._base_url = checked_url(base_url, allow_http=allow_http)
        self._key = key if key is None or callable(key) else lambda: str(key)  # no repr has it
        self._policy = policy or HttpPolicy()
        self._clock = clock
        self._tls = _tls(self._base_url, self._policy.ca_file)
        self._transport = transport or self._new_transport
        self._kept = threading.local()
        self._lines: weakref.WeakSet[Line[httpx.BaseTransport]] = weakref.WeakSet()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._base_url!r})"

    def post(
        self,
        path: str,
        *,
        body: bytes | Body,
        content_type: str,
        deadline_s: float,
        gate: Gate,
        params: Params = (),
        waits_s: float = 0.0,
        signed: Params = (),
    ) -> Answer:
        """Send a write, once, with `signed` as further headers. Return its 2xx answer, whose value is JSON or None.

        `waits_s` is how long the provider may wait before it answers, which then holds results too.

        `gate` is called once, on an established connection, right before the first byte; what it raises stops the
        request and is raised here. Raises `NotSent`, `Ambiguous`, what `answers.write_error` makes of a status, or a
        `FileProblem` that iterating the body raised, if it surely cut the request short.
        """
        line = Line(self._transport())
        cap_bytes = self._policy.answer_bytes if waits_s else min(self._policy.answer_bytes, ACCEPTED_BYTES)
        exchange = _Exchange(line, Deadline(deadline_s, self._clock), cap_bytes, gate, waits_s)
        chunks = exchange.send(body)
        headers = {"Content-Type": content_type, "Content-Length": str(len(body)), "Connection": "close"}
        headers |= dict(signed)
        try:
            response = self._carry("POST", path, params, exchange, headers, chunks)
        except FileProblem as error:
            if exchange.body_sent:
                raise map_write(error, exchange) from error
            raise
        except (*_FOREIGN, Unreadable, DeadlinePassed, _WrongLength) as error:
            raise map_write(error, exchange) from error
        finally:
            chunks.close()
            line.close()
        if not exchange.began:
            raise Ambiguous("the request was sent without asking the gate: this httpx isn't the one we know")
        if not 200 <= response.status < 300:
            raise write_error(response.status, response.detail, response.wait_s, body_sent=exchange.body_sent)
        if not exchange.body_sent:
            raise Ambiguous("the provider accepted before it had everything", http_status=response.status)
        return Answer(response.status, response.value)

    def get(self, path: str, params: Params = (), deadline_s: float | None = None) -> Answer:
        """Ask something. Return the answer if it is 2xx or 404 (which the caller interprets).

        Raises `Throttled`, `Blocked`, `AnswerTooLarge` or `Unavailable`, nothing else of `ProviderError`. The deadline
        is the policy's unless given.
        """
        return self._read("GET", path, params, deadline_s)

    def delete(self, path: str, deadline_s: float | None = None) -> Answer:
        """Delete something; answers and errors are those of `get`."""
        return self._read("DELETE", path, (), deadline_s)

    def listen(self, path: str, each: Listener, *, deadline_s: float, params: Params = ()) -> None:
        """Give `each` the bytes of a 2xx answer as they come, `b""` first; return when it has ended, or is cut off.

        Over a connection of its own. Raises what `get` and `each` do, and `Unavailable` for a 404.
        """
        line = Line(self._transport())
        exchange = _Exchange(line, Deadline(deadline_s, self._clock), ERROR_BYTES)
        try:
            response = self._carry("GET", path, params, exchange, {"Accept": "text/event-stream"}, None, each)
        except (*_FOREIGN, Unreadable, DeadlinePassed) as error:
            raise map_read(error) from error
        finally:
            line.close()
        if not 200 <= response.status < 300:
            raise read_error(response.status, response.detail, response.wait_s)

    def close(self) -> None:
        """Close every kept connection. Using the object again opens new ones."""
        for line in list(self._lines):
            line.close()
        self._kept = threading.local()

    def _read(self, method: str, path: str, params: Params, deadline_s: float | None) -> Answer:
        deadline = Deadline(self._policy.whole_read_s if deadline_s is None else deadline_s, self._clock)
        try:
            try:
                response = self._read_once(method, path, params, deadline)
            except _Stale:
                response = self._read_once(method, path, params, deadline)
        except (*_FOREIGN, Unreadable, DeadlinePassed, _Stale) as error:
            raise map_read(error) from error
        if 200 <= response.status < 300 or response.status == 404:
            return Answer(response.status, response.value)
        raise read_error(response.status, response.detail, response.wait_s)

    def _read_once(self, method: str, path: str, params: Params, deadline: Deadline) -> _Response:
        line: Line[httpx.BaseTransport] | None = getattr(self._kept, "line", None)
        if line is None:
            line = self._kept.line = Line(self._transport())
            self._lines.add(line)
        exchange = _Exchange(line, deadline, self._policy.answer_bytes)
        whole = False
        try:
            response = self._carry(method, path, params, exchange, {}, None)
            whole = True
            line.served = True
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            if line.served and not exchange.connected and exchange.status is None and deadline.left_s > 0:
                raise _Stale from error
            raise
        finally:
            if not whole:
                line.close()
                self._kept.line = None
        return response

    def _carry(
        self,
        method: str,
        path: str,
        params: Params,
        exchange: _Exchange,
        headers: Mapping[str, str],
        chunks: Iterable[bytes] | None,
        each: Listener | None = None,
    ) -> _Response:
        key = key_now(self._key)
        request = httpx.Request(
            method,
            _parsed(self._base_url + path + ("?" + urlencode(params) if params else "")),
            headers={
                **({"Authorization": f"Bearer {key}"} if key else {}),
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": "paceline",
                **headers,
            },
            content=chunks,
            extensions={"timeout": self._timeouts(exchange), "trace": exchange.trace},
        )
        with Watchdog(exchange.line.wire, exchange.deadline):
            response = exchange.line.transport.handle_request(request)
            try:
                return self._receive(response, exchange, key, each)
            finally:
                response.close()

    def _receive(self, response: httpx.Response, exchange: _Exchange, key: str, each: Listener | None) -> _Response:
        exchange.status = status = response.status_code
        headers = response.headers
        wait_s = retry_after_s(headers.get("retry-after"), headers.get("date"), datetime.now(UTC))
        encoding = headers.get("content-encoding", "")
        if 200 <= status < 300 and each is not None:
            each(b"")
            for chunk in _chunks(response, exchange):
                each(chunk)
            return _Response(status, None, "", wait_s)
        if 200 <= status < 300:
            whole = Gatherer(exchange.cap_bytes, encoding, key)
            return _Response(status, _value(response, exchange, whole), "", wait_s)
        value = None
        with contextlib.suppress(*_FOREIGN, Unreadable, DeadlinePassed):  # the status has arrived, and is what counts
            value = _value(response, exchange, Gatherer(ERROR_BYTES, encoding, key))
        return _Response(status, value, excerpt(value, key), wait_s)

    def _timeouts(self, exchange: _Exchange) -> dict[str, float | None]:
        policy, left_s = self._policy, max(exchange.deadline.left_s, 0.001)  # 0 would mean "don't block"
        return httpx.Timeout(
            connect=min(policy.connect_s, left_s),
            read=min(policy.read_s + exchange.waits_s, left_s),
            write=min(policy.write_s, left_s),
            pool=min(policy.pool_s, left_s),
        ).as_dict()

    def _new_transport(self) -> httpx.BaseTransport:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_ALIVE_S)
        return httpx.HTTPTransport(verify=self._tls, trust_env=False, http2=False, retries=0, limits=limits)


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    value: Any
    detail: str
    wait_s: float | None


class _WrongLength(Exception):
    """A body gave more or fewer bytes than it announced."""


class _Stale(Exception):
    """A kept connection died before it answered."""


class _Exchange:
    """How far one request has got.

    `connected`: over a new connection; `began`: the first byte may have left; `body_sent`: every byte of the body was
    handed to the connection; `status`: that of the answer, None before its head arrived. `cap_bytes` is the answer's,
    `waits_s` the time its sender may take on purpose.
    """

    def __init__(
        self,
        line: Line[httpx.BaseTransport],
        deadline: Deadline,
        cap_bytes: int,
        gate: Gate = lambda: None,
        waits_s: float = 0.0,
    ) -> None:
        self.line = line
        self.deadline = deadline
        self.cap_bytes = cap_bytes
        self.waits_s = waits_s
        self.connected = self.began = self.body_sent = False
        self.status: int | None = None
        self._gate = gate

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Follow the transport's events. What is raised at `…send_request_headers.started` stops it in time."""
        if event == "connection.connect_tcp.complete":
            self.connected = True
            try:
                self.line.wire.attach(info["return_value"].get_extra_info("socket"))
            except OSError as error:  # no descriptors left
                raise httpx.ConnectError("no second handle on the connection") from error
        elif event.endswith(".send_request_headers.started"):
            self.deadline.check()
            self._gate()
            self.began = True

    def send(self, body: bytes | Body) -> Generator[bytes]:
        """Give the body's bytes to the transport as long as there is time, never more than announced."""
        left = len(body)
        for chunk in _slices(body) if isinstance(body, bytes) else body:
            self.deadline.check()
            left -= len(chunk)
            if left < 0:
                raise _WrongLength
            yield chunk
            self.body_sent = left == 0
        if left:
            raise _WrongLength
        self.body_sent = True


def _slices(body: bytes) -> Iterator[bytes]:
    return (body[at : at + SLICE_BYTES] for at in range(0, len(body), SLICE_BYTES))


def _chunks(response: httpx.Response, exchange: _Exchange) -> Iterator[bytes]:
    assert isinstance(response.stream, httpx.SyncByteStream)
    for chunk in response.stream:
        exchange.deadline.check()
        yield chunk


def _value(response: httpx.Response, exchange: _Exchange, gatherer: Gatherer) -> Any:
    gatherer.expect(response.headers.get("content-length", ""))
    for chunk in _chunks(response, exchange):
        gatherer.feed(chunk)
    return gatherer.json()


def map_write(error: Exception, exchange: _Exchange) -> ProviderError:
    """Return what a write came to that ended without a readable answer: the one place that says so.

    `NotSent` needs two witnesses, that no byte had left and an error that can only come earlier: if one of them is ever
    wrong, the price is a question and not a second payment.
    """
    name = type(error).__name__
    if not exchange.began and isinstance(error, (*_NEVER_SENT, DeadlinePassed)):
        return NotSent(f"no connection to the provider ({name})")
    what = f"the provider's answer can't be read ({error})" if isinstance(error, Unreadable) else f"no answer ({name})"
    return Ambiguous(f"the request was begun: {what}", http_status=exchange.status, body_sent=exchange.body_sent)


def map_read(error: Exception) -> ProviderError:
    """Return what a read came to that ended without a readable answer: the one place that says so."""
    if isinstance(error, TooLarge):
        return AnswerTooLarge(f"the provider's answer is too large ({error}); ask after fewer")
    if isinstance(error, Unreadable):
        return Unavailable(f"the provider's answer can't be read ({error})")
    return Unreachable(f"the provider can't be reached ({type(error).__name__})")


def _tls(base_url: str, ca_file: str | None) -> ssl.SSLContext:
    """Make the context all connections share: loading the authorities takes 20 ms."""
    if base_url.startswith("http://"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not used; knows no authority, so would trust nobody
    if ca_file is None:
        return httpx.create_ssl_context(trust_env=False)
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise ConfigError(f"the file of certificate authorities can't be read: {ca_file}") from error
