"""Every error httpx can raise, and a transport that raises it."""

from __future__ import annotations

import httpx

MARK = "the text of a foreign error"


class Scripted(httpx.BaseTransport):
    """Raises an error, or (None) answers, with or without having said that the request begins."""

    def __init__(self, error: Exception | None, *, begins: bool) -> None:
        self._error = error
        self._begins = begins

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self._begins:
            request.extensions["trace"]("http11.send_request_headers.started", {})
        if self._error is not None:
            raise self._error
        return httpx.Response(200, json={"run_id": 1})


def every_error() -> list[Exception]:
    """Make one of each, however deep in the tree."""
    kinds: list[type[Exception]] = [httpx.HTTPError, httpx.InvalidURL, httpx.CookieConflict, httpx.StreamError]
    found = []
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        found.append(_make(kind))
    return found


def every_name() -> set[str]:
    """Name every error that httpx exports."""
    exported = {name: getattr(httpx, name) for name in httpx.__all__}
    return {name for name, kind in exported.items() if isinstance(kind, type) and issubclass(kind, Exception)}


def _make(kind: type[Exception]) -> Exception:
    if kind in (httpx.StreamConsumed, httpx.StreamClosed, httpx.ResponseNotRead, httpx.RequestNotRead):
        return kind()
    if kind is httpx.HTTPStatusError:
        request = httpx.Request("GET", "http://x")
        return httpx.HTTPStatusError(MARK, request=request, response=httpx.Response(500, request=request))
    return kind(MARK)
