"""A small HTTP server for webhooks, in which everything is bounded: clients, bytes, and the time of each.

One request per connection. What is wrong with a request is said before its body is read, where the headers tell.
"""

from __future__ import annotations

import io
import json
import logging
import socket
import socketserver
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import urlsplit

from paceline.providers.deadline import Deadline, Watchdog, Wire
from paceline.providers.kolena_webhook import Delivery, Refused

log = logging.getLogger(__name__)

PATH = "/webhook"
HEALTH = "/healthz"

BODY_BYTES = 1_000_000
"""A body may have so many; no size is documented, and only ids are wanted of it."""

HEAD_BYTES = 32_768
"""For the request line and all headers together."""

WHOLE_S = 9.0
"""From the connection to the end of the answer, after which it is cut: the vendor waits ten seconds."""

STEP_S = 5.0
"""A client that gives or takes nothing for so long is gone."""

CLIENTS = 32
"""So many at once; each costs a thread and at most its head and body in memory. The next one is told to come later."""

LEFTOVER_BYTES = 4_000_000
"""So much of what wasn't read is thrown away: closing on it would reset the connection under the answer."""

LEFTOVER_S = 1.0

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Desk(Protocol):
    """Who judges deliveries; both raise `Refused`."""

    def admit(self, headers: Mapping[str, Sequence[str]]) -> Delivery:
        """Look at the headers, named in lower case."""

    def take(self, delivery: Delivery, body: bytes) -> str:
        """Take a delivery; return a word for what it came to."""


class Receiver(ThreadingHTTPServer):
    """Listens from the moment it is made (`OSError` if it can't); `serve_forever` answers. Port 0 chooses one."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, host: str, port: int, desk: Desk, *, whole_s: float = WHOLE_S) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        self.desk = desk
        self.whole_s = whole_s
        self._places = threading.BoundedSemaphore(CLIENTS)
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        """Where webhooks are received."""
        host, port = self.socket.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}{PATH}"

    def server_bind(self) -> None:
        """Bind, without looking up this machine's name as `HTTPServer` does."""
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, if there is a place."""
        if self._places.acquire(blocking=False):
            try:
                super().process_request(request, client_address)
            except BaseException:  # no further thread
                self._places.release()
                raise
            return
        log.warning("hook.refused", extra={"reason": "too_many_clients", "status": 503})
        with suppress(OSError):
            request.send(_BUSY, socket.MSG_DONTWAIT)
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one client within its time, and give its place back."""
        wire = Wire()
        try:
            wire.attach(request)
            with Watchdog(wire, Deadline(self.whole_s)):
                super().process_request_thread(request, client_address)
        except OSError:  # no descriptors left for the watch
            self.shutdown_request(request)
        finally:
            wire.detach()
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Note what went wrong with a client."""
        log.warning("hook.broken", exc_info=True)


class _TooMuch(Exception):
    """A client has sent more than it may."""


class _Budget(io.RawIOBase):
    """A client's bytes, of which only so many are handed out before `left` is set anew; else it raises `_TooMuch`."""

    def __init__(self, source: socket.socket) -> None:
        self._source = source
        self.left = HEAD_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self.left:
            raise _TooMuch
        count = self._source.recv_into(buffer, min(len(buffer), self.left))
        self.left -= count
        return count


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"
    timeout = STEP_S

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._budget = _Budget(self.connection)
        # Of one byte, so that no byte of the body is taken before its length is known to be fit.
        self.rfile = io.BufferedReader(self._budget, 1)

    def handle(self) -> None:
        self.close_connection = True
        with suppress(OSError):  # the client is gone, or too slow
            try:
                self.handle_one_request()
            except _TooMuch:
                self.command, self.request_version = "", "HTTP/1.1"
                self._refuse(431, "head_too_large")
            self.close_connection = True
            self._throw_away()

    def do_POST(self) -> None:
        """Take a delivery."""
        path = urlsplit(self.path).path
        if path != PATH:
            self._no_such_thing(path, allowed="GET, HEAD")
            return
        try:
            length = self._length()
            if length > BODY_BYTES:
                raise Refused(413, "too_large")
            delivery = self.server.desk.admit(
                {name.lower(): self.headers.get_all(name, []) for name in self.headers.keys()}  # noqa: SIM118  # its own
            )
            body = self._body(length)
            self._answer(200, self.server.desk.take(delivery, body))
        except Refused as refused:
            self._refuse(refused.status, refused.reason)
        except OSError:
            raise
        except Exception:
            log.exception("hook.defect")
            self._answer(500, "defect")

    def do_GET(self) -> None:
        """Say that this process lives."""
        path = urlsplit(self.path).path
        if path == HEALTH:
            self._answer(200, "ok")
        else:
            self._no_such_thing(path, allowed="POST")

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        """Refuse any other method."""
        path = urlsplit(self.path).path
        self._no_such_thing(path, allowed="POST" if path == PATH else "GET, HEAD")

    do_PATCH = do_DELETE = do_OPTIONS = do_PUT

    def _length(self) -> int:
        if self.headers.get("Transfer-Encoding") is not None:
            raise Refused(411, "no_length")
        told = self.headers.get_all("Content-Length", [])
        if not told:
            raise Refused(411, "no_length")
        if len(told) > 1 or not (told[0].isascii() and told[0].isdigit()):
            raise Refused(400, "bad_length")
        return int(told[0][:20])

    def _body(self, length: int) -> bytes:
        self._budget.left = length
        body = bytearray()
        while len(body) < length:
            chunk = self._budget.read(min(length - len(body), 65_536))
            if not chunk:
                raise Refused(400, "cut_short")
            body += chunk
        return bytes(body)

    def _no_such_thing(self, path: str, *, allowed: str) -> None:
        if path in (PATH, HEALTH):
            self._refuse(405, "wrong_method", allowed)
        else:
            self._refuse(404, "no_such_path")

    def _refuse(self, status: int, reason: str, allowed: str = "") -> None:
        log.warning("hook.refused", extra={"reason": reason, "status": status})
        self._answer(status, reason, allowed)

    def _answer(self, status: int, word: str, allowed: str = "") -> None:
        body = json.dumps({"result": word}).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        if allowed:
            self.send_header("Allow", allowed)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what can't be read as HTTP, in our form; the library's would quote it."""
        self.command = self.command or ""
        self._refuse(code, "no_http")

    def log_error(self, format: str, *args: Any) -> None:
        """Note a client that took too long: all that the library still has to say here."""
        log.warning("hook.refused", extra={"reason": "too_slow", "status": 0})

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the library's lines quote what was sent."""

    def _throw_away(self) -> None:
        """Read on for a moment, so that a client still sending gets to read why."""
        self.connection.shutdown(socket.SHUT_WR)
        self.connection.settimeout(LEFTOVER_S)
        left = LEFTOVER_BYTES
        while left > 0 and (chunk := self.connection.recv(min(left, 65_536))):
            left -= len(chunk)
