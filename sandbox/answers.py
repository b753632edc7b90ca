"""What the sandbox says: an answer as a value, and the standard ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import formatdate
from http import HTTPStatus

from sandbox.agent import to_json
from sandbox.limits import whole_seconds

JSON, HTML, TEXT = b"application/json", b"text/html; charset=utf-8", b"text/plain; charset=utf-8"

GATEWAY_PAGE = (
    b"<html>\r\n<head><title>%d %b</title></head>\r\n<body>\r\n<center><h1>%d %b</h1></center>\r\n"
    b"<hr><center>sandbox</center>\r\n</body>\r\n</html>\r\n"
)

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, a body, and headers beyond type and length; ``run_id`` if it tells of an accepted run."""

    status: int
    body: bytes = b""
    content_type: bytes | None = JSON
    headers: Headers = ()
    run_id: int | str | None = None

    def all_headers(self) -> list[tuple[bytes, bytes]]:
        """Give every header to send, Content-Length included (but not for a 204, which has no body)."""
        headers = list(self.headers)
        if self.content_type is not None and self.status != HTTPStatus.NO_CONTENT:
            headers.append((b"content-type", self.content_type))
        if self.status != HTTPStatus.NO_CONTENT:
            headers.append((b"content-length", str(len(self.body)).encode()))
        return headers

    def raw(self, body: bytes | None = None, extra: Headers = ()) -> bytes:
        """Write the answer as HTTP/1.1 bytes that close the connection; ``body`` replaces what follows the headers."""
        lines = [b"HTTP/1.1 %d %b" % (self.status, phrase(self.status))]
        lines += [name + b": " + value for name, value in (*self.all_headers(), *extra, (b"connection", b"close"))]
        return b"\r\n".join(lines) + b"\r\n\r\n" + (self.body if body is None else body)

    def with_body(self, body: bytes, content_type: bytes = JSON) -> Answer:
        """Say something else with the same status and headers."""
        return replace(self, body=body, content_type=content_type)


Say = Callable[[int, str, Headers], Answer]


def phrase(status: int) -> bytes:
    """Name a status as HTTP does; unknown ones have no name."""
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Unknown"


def detail(status: int, text: str, headers: Headers = ()) -> Answer:
    """Answer ``{"detail": text}``, the form FastAPI gives its errors."""
    return Answer(status, to_json({"detail": text}), headers=headers)


def error(
    status: int, form: str = "json", retry_after: str = "none", wait_s: float = 1.0, *, say: Say = detail
) -> Answer:
    """Answer an error with a body of a form (json, html, empty, text) and a Retry-After, see ``retry_header``.

    ``say`` makes the one in JSON.
    """
    headers = retry_header(retry_after, wait_s)
    name = phrase(status)
    if form == "html":
        return Answer(status, GATEWAY_PAGE % (status, name, status, name), HTML, headers)
    if form == "empty":
        return Answer(status, b"", None, headers)
    if form == "text":
        return Answer(status, name, TEXT, headers)
    return say(status, name.decode(), headers)


def retry_header(kind: str, wait_s: float) -> Headers:
    """Write a Retry-After: ``none`` omits it, ``seconds`` and ``date`` tell ``wait_s``, other text is sent as it is."""
    if kind == "none":
        return ()
    if kind == "seconds":
        value = str(whole_seconds(wait_s))
    elif kind == "date":
        value = formatdate(time.time() + whole_seconds(wait_s), usegmt=True)
    else:
        value = kind
    return ((b"retry-after", value.encode("latin-1", "replace")),)
