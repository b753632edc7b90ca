"""Post to a web address, signed as Standard Webhooks says: to sinks' receivers, and to whom schedules tell.

Any 2xx means that the receiver has it for good.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from paceline.errors import Ambiguous, ConfigError, CredentialsError, NotSent, ProviderError, SinkError
from paceline.providers.policy import HttpPolicy
from paceline.secrets import read_secret as read_text
from paceline.sinks.places import SECRET_ENV

if TYPE_CHECKING:
    from paceline.providers.http import Http

POLICY = HttpPolicy(connect_s=10, read_s=30, write_s=30, answer_bytes=64 * 1024)
BASE_S, BYTES_PER_S = 60.0, 1_000_000
"""A delivery may take so long, and as much longer as its body takes at this speed."""

LEAST_SECRET_BYTES = 16
_PREFIX = "whsec_"
_REMEDY = f"export {SECRET_ENV}=whsec_$(openssl rand -base64 32), and give it to the receiver"


class Receiver:
    """A web address that takes deliveries. Thread-safe.

    `ca_file` replaces the public certificate authorities; `now_s` is the time that a receiver compares with its own.
    With `allow_http`, deliveries may travel unencrypted to other machines.
    """

    def __init__(
        self,
        url: str,
        *,
        ca_file: str | None = None,
        now_s: Callable[[], float] = time.time,
        allow_http: bool = False,
    ) -> None:
        parts = urlsplit(url)
        self._base = f"{parts.scheme}://{parts.netloc}"
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.shown = f"{self._base}{parts.path}"  # a query may hold what nobody else should see
        self._ca_file = ca_file
        self._allow_http = allow_http
        self._now_s = now_s
        self._lock = threading.Lock()

    def deliver(self, name: str, body: bytes, secret: Callable[[], bytes] | None) -> None:
        """Deliver a JSON body under an id, signed where there is a secret; it is read at each delivery, kept nowhere.

        Raises `SinkError` unless the receiver says that it has it.
        """
        try:
            sent_at = str(int(self._now_s()))
            signed = [("webhook-id", name), ("webhook-timestamp", sent_at)]
            if secret is not None:
                signed.append(("webhook-signature", sign(secret(), name, sent_at, body)))
            with self._lock:
                http = self._http
            http.post(
                self._path,
                body=body,
                content_type="application/json",
                deadline_s=BASE_S + len(body) / BYTES_PER_S,
                gate=lambda: None,
                signed=signed,
            )
        except ProviderError as error:
            # What the answer says besides doesn't matter, nor whether it can be read.
            if isinstance(error, Ambiguous) and error.body_sent and 200 <= (error.http_status or 0) < 300:
                return
            raise SinkError(f"webhook {self.shown}: {_meaning(error, len(body))}") from error
        except ConfigError as error:
            raise SinkError(f"webhook {self.shown}: {error}") from error

    @cached_property
    def _http(self) -> Http:
        from paceline.providers.http import Http

        return Http(self._base, None, replace(POLICY, ca_file=self._ca_file), allow_http=self._allow_http)


def sign(secret: bytes, name: str, timestamp: str, body: bytes) -> str:
    """Return the header `webhook-signature`: the scheme's version and the HMAC over `id.timestamp.body`."""
    digest = hmac.new(secret, f"{name}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def read_secret() -> bytes:
    """Return the secret: the bytes behind `whsec_` in Base64, of any other text its own. Raises `CredentialsError`."""
    text = read_text(SECRET_ENV)
    if not text:
        raise CredentialsError(f"no secret to sign deliveries with; {_REMEDY}")
    secret = text.encode("utf-8", "surrogateescape")
    if text.startswith(_PREFIX):
        try:
            secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            raise CredentialsError(f"{SECRET_ENV} begins with whsec_, but no Base64 follows; {_REMEDY}") from None
    if len(secret) < LEAST_SECRET_BYTES:
        raise CredentialsError(f"{SECRET_ENV} is shorter than {LEAST_SECRET_BYTES} bytes and can be guessed; {_REMEDY}")
    return secret


def _meaning(error: ProviderError, size_bytes: int) -> str:
    """Say what an answer other than 2xx means, and what helps. None of the receiver's own words."""
    status = error.http_status
    if isinstance(error, NotSent):
        return "no connection; is the receiver running? It is tried again"
    if status is None:
        return "the receiver didn't answer in time, or broke off; it is tried again"
    if 200 <= status < 300:
        return f"the receiver said {status} before it had everything; it is tried again"
    if 300 <= status < 400:
        return f"it redirects elsewhere ({status}), which is never followed: name the address it leads to"
    return _REFUSALS.get(status, _OTHERS[status >= 500]).format(status=status, size=f"{size_bytes:,}")


_OTHERS = ("the receiver refuses the delivery ({status})", "the receiver has trouble ({status}); it is tried again")
_REFUSALS = {
    401: f"the receiver refuses the signature ({{status}}): does it know the secret in {SECRET_ENV}?",
    403: f"the receiver refuses the signature ({{status}}): does it know the secret in {SECRET_ENV}?",
    404: "there is no such address ({status}): correct it, or set the receiver up",
    405: "the receiver takes no POST there ({status}): correct the address",
    408: _OTHERS[1],
    410: "the receiver wants no more deliveries ({status}): set it up again; until then the batch can't be completed",
    413: "the receiver refuses a body of {size} bytes ({status}): raise its limit, or put fewer files into a run",
    429: "the receiver is asked too often ({status}); it is tried again",
}
