"""What an HTTP answer means: its JSON, its error, how long it asks to wait.

Everything here is pure and trusts nothing: an answer may be endless, compressed to burst, nested without end, or hold
terminal escapes, our own key, or no sense at all.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import chain
from typing import Any

from paceline.errors import (
    AccessDenied,
    AgentUnknown,
    Ambiguous,
    Blocked,
    NoCredit,
    ProviderError,
    Refused,
    Throttled,
    Unavailable,
)
from paceline.providers.echoes import hide_echo
from paceline.providers.weight import heavier_than

EXCERPT_CHARACTERS = 300
NESTED_MOST = 200
"""How deep an answer's JSON may nest. The parser takes nearly 1,000 levels, but what writes results down spends up to
two frames a level, on top of Celery's own; a few dozen levels would be odd already."""
PARSED_TIMES = 2
"""How much memory text and values of an answer may take, in caps: a text of plain ASCII takes its bytes twice."""
LEAST_PARSED_BYTES = 4_000_000
MOVED = frozenset({301, 307, 308})
"""Redirects that say "send this very request elsewhere": nothing was done. 302 and 303 may also follow a success."""
UNCLEAR = frozenset({408, 409})
"""Refusals that may have been decided after the run was started."""

_CONTAINERS = {dict, list}  # what `json.loads` makes, exactly: an answer may have millions of values to look at
_ESCAPE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, cursor movements
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f]).*?(?:\x07|\x1b\\|\x9c|$)"  # window titles, links, device strings
    r"|\x1b[ -/]*[0-~]",
    re.DOTALL,
)
_QUERY = re.compile(r"(\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s?#\"'<>]*)[?#][^\s\"'<>]*")
_SECONDS = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?", re.ASCII)


class Unreadable(Exception):
    """An answer can't be understood."""


class TooLarge(Unreadable):
    """An answer passed a cap: on its bytes, as sent or unpacked, or on its depth."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A provider's answer: `value` is its JSON, None where the body was empty."""

    status: int
    value: Any


class Gatherer:
    """Collects an answer's body up to `cap_bytes`, both as sent and as unpacked.

    `encoding` is the Content-Encoding header. We ask for `identity`; gzip and deflate that come anyway are unpacked
    step by step, so that a bomb is noticed at the cap. `secret` is hidden wherever the body has it. Raises `Unreadable`
    for any other encoding.
    """

    def __init__(self, cap_bytes: int, encoding: str = "", secret: str = "") -> None:
        self._cap = cap_bytes
        self._secret = secret
        self._arrived = 0
        self._body = bytearray()
        self._unpacker = _unpacker(encoding.strip().lower())

    def expect(self, length: str) -> None:
        """Take the Content-Length header, '' where there is none; raise `TooLarge` before anything is read."""
        if length.isascii() and length.isdigit() and int(length[:19]) > self._cap:
            raise TooLarge(f"more than {self._cap} bytes")

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes; raise `TooLarge` as soon as there are too many."""
        self._arrived += len(chunk)
        if self._arrived > self._cap:
            raise TooLarge(f"more than {self._cap} bytes")
        if self._unpacker is not None:
            try:
                chunk = self._unpacker.decompress(chunk, self._cap - len(self._body) + 1)
            except zlib.error as error:
                raise Unreadable("broken compression") from error
        self._body += chunk
        if len(self._body) > self._cap:
            raise TooLarge(f"more than {self._cap} bytes when unpacked")

    def json(self) -> Any:
        """Parse what was gathered, which is forgotten. Empty: None. NaN and infinities: None in their place.

        Raises `TooLarge` for more than `NESTED_MOST` levels, or what would take more memory than `PARSED_TIMES` the
        cap: one such run must not hide the others of a list.
        """
        if self._unpacker is not None and not (self._unpacker.eof or not self._arrived):
            raise Unreadable("compression ends early")
        text = self._text()
        if not text.strip():
            return None
        try:
            value = json.loads(text, parse_constant=lambda _: None)
        except RecursionError as error:
            raise TooLarge(f"more than {NESTED_MOST} levels") from error
        except ValueError as error:
            raise Unreadable("not JSON") from error
        if _deeper_than(NESTED_MOST, value):
            raise TooLarge(f"more than {NESTED_MOST} levels")
        return value

    def _text(self) -> str:
        # The bytes go before the parser runs: at 100 MB a third copy is what would break a worker's memory limit.
        try:
            if heavier_than(max(PARSED_TIMES * self._cap, LEAST_PARSED_BYTES), self._body):
                raise TooLarge("too many values")
            return hide_echo(self._body, self._secret).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise Unreadable("not UTF-8") from error
        finally:
            self._body = bytearray()


def _deeper_than(levels: int, value: object) -> bool:
    """Tell whether lists and objects nest deeper; level by level, so that depth costs no stack."""
    containers: list[Any] = [value] if type(value) in _CONTAINERS else []
    for _ in range(levels):
        if not containers:
            return False
        inner = chain.from_iterable(one.values() if type(one) is dict else one for one in containers)
        containers = [item for item in inner if type(item) in _CONTAINERS]
    return bool(containers)


def _unpacker(encoding: str) -> Any:
    """Return a zlib decompressor that recognizes gzip and zlib by their first bytes, or None for plain bodies."""
    if encoding in ("", "identity"):
        return None
    if encoding in ("gzip", "x-gzip", "deflate"):
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    raise Unreadable("unknown content encoding")


def retry_after_s(value: str | None, date: str | None, now: datetime) -> float | None:
    """Read a Retry-After header: seconds, or a date relative to the answer's Date header (or else to `now`).

    Finite and ≥ 0; a date that has passed is 0. None where there is none, or nothing we can read; negative too.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    then = _http_date(text)
    if then is None:
        return None
    return max((then - (_http_date(date or "") or now)).total_seconds(), 0.0)


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        return None


def excerpt(value: object, secret: str = "") -> str:
    """Say in one harmless line what an error's JSON says: FastAPI's `detail`, or `message` and `error`.

    No control characters, no terminal escapes, no queries of URLs, `secret` masked, at most 300 characters; empty where
    it says nothing that we know how to read.
    """
    return clean(_words(value), secret)


def clean(text: str, secret: str = "") -> str:
    """Make foreign text harmless: one line, no control characters, escapes, URL queries or `secret`; at most 300."""
    text = _ESCAPE.sub("", text[: 100 * EXCERPT_CHARACTERS])
    text = " ".join(text.split())
    text = "".join(character for character in text if unicodedata.category(character)[0] != "C")
    if secret:
        text = text.replace(secret, "***")
    text = _QUERY.sub(r"\1", text)
    return text if len(text) <= EXCERPT_CHARACTERS else text[: EXCERPT_CHARACTERS - 1] + "…"


def _words(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "; ".join(filter(None, (_words(item) for item in value[:5])))
    if not isinstance(value, Mapping):
        return ""
    if isinstance(value.get("msg"), str):  # one entry of FastAPI's list
        place = value.get("loc")
        where = ".".join(str(part) for part in place) if isinstance(place, list) else ""
        return f"{where}: {value['msg']}" if where else value["msg"]
    for key in ("detail", "message", "error"):
        if words := _words(value.get(key)):
            return words
    return ""


def _told(what: str, status: int, detail: str) -> str:
    return f"{what} ({status})" + (f": {detail}" if detail else "")


def access_error(status: int, detail: str) -> Blocked | None:
    """Return what 401, 402 and 403 mean for any call; None for other codes."""
    if status in (401, 403):
        return AccessDenied(_told("the provider refuses the key", status, detail), http_status=status)
    if status == 402:
        return NoCredit(_told("the account has no credit left", status, detail), http_status=status)
    return None


def write_error(status: int, detail: str, wait_s: float | None, *, body_sent: bool) -> ProviderError:
    """Return what a write's answer other than 2xx means.

    408, 409, every 5xx and whatever isn't plainly a refusal is ambiguous. 301, 307 and 308 block the account: the
    request was not carried out, and every other one would be sent to the wrong address too; 302 and 303 may be the
    answer to a success.
    """
    if blocked := access_error(status, detail):
        return blocked
    if status == 429:
        return Throttled(_told("too many requests", status, detail), retry_after_s=wait_s)
    if status == 404:
        return AgentUnknown(_told("no such agent, or no such address", status, detail), http_status=status)
    if status in MOVED:
        remedy = "the provider's address redirects elsewhere; redirects are never followed: correct the account's URL"
        return Blocked(f"{remedy} ({status})", http_status=status)
    if 400 <= status < 500 and status not in UNCLEAR:
        return Refused(_told("the provider refuses the submission", status, detail), http_status=status)
    told = _told("the provider's answer leaves the outcome open", status, detail)
    return Ambiguous(told, http_status=status, body_sent=body_sent)


def read_error(status: int, detail: str, wait_s: float | None) -> ProviderError:
    """Return what a read's answer other than 2xx and 404 means."""
    if blocked := access_error(status, detail):
        return blocked
    if status == 429:
        return Throttled(_told("too many requests", status, detail), retry_after_s=wait_s)
    return Unavailable(_told("the provider can't answer now", status, detail), http_status=status)


def is_finite(number: object) -> bool:
    """Tell whether this is a number in the everyday sense: no bool, no NaN, no infinity, no integer past any float."""
    if not isinstance(number, int | float) or isinstance(number, bool):
        return False
    try:
        return math.isfinite(number)
    except OverflowError:
        return False
