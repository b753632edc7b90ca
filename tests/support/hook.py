"""A receiver of webhooks as somebody else would write it, from the text of Standard Webhooks 1.0 alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

SECRET_BYTES = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(SECRET_BYTES).decode()


@dataclass(frozen=True)
class Delivery:
    """One that was taken, in the order of arrival."""

    path: str
    id: str
    timestamp: int
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.raw)
        return found


class NotSigned(Exception):
    """The signature isn't what the secret makes of it."""


def verify(secret: bytes, name: str, timestamp: str, signatures: str, body: bytes, now_s: float) -> None:
    """Raise `NotSigned` unless one of the signatures is version 1's, and the delivery is of these five minutes."""
    if abs(now_s - int(timestamp)) > 300:
        raise NotSigned("out of time")
    expected = hmac.new(secret, b".".join([name.encode(), timestamp.encode(), body]), hashlib.sha256).digest()
    for one in signatures.split(" "):
        version, _, signature = one.partition(",")
        if version == "v1" and hmac.compare_digest(base64.b64decode(signature), expected):
            return
    raise NotSigned("no signature fits")


@dataclass
class Hook:
    """Takes what is signed with `SECRET` and answers 204; anything else gets 401. `with` it.

    The first `busy` deliveries are answered with 503 and forgotten. Where `signed` is False, any delivery is taken that
    bears no signature.
    """

    deliveries: list[Delivery] = field(default_factory=list)
    refused: int = 0
    busy: int = 0
    signed: bool = True

    def __enter__(self) -> Hook:
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                name, stamp = self.headers["webhook-id"], self.headers["webhook-timestamp"]
                signature = self.headers["webhook-signature"]
                try:
                    if hook.signed:
                        verify(SECRET_BYTES, name, stamp, signature, body, time.time())
                    elif signature is not None:
                        raise NotSigned("nobody asked for one")
                except NotSigned:
                    hook.refused += 1
                    self.send_error(401)
                    return
                if hook.busy > 0:
                    hook.busy -= 1
                    self.send_error(503)
                    return
                hook.deliveries.append(Delivery(self.path, name, int(stamp), body))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def events(self, path: str) -> list[dict[str, Any]]:
        """Return what came for a path, each id once: as a receiver keeps it."""
        found: dict[str, dict[str, Any]] = {}
        for delivery in list(self.deliveries):
            if delivery.path == path:
                found.setdefault(delivery.id, delivery.body)
        return list(found.values())
