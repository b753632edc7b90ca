"""Judges Kolena's webhooks: is a delivery really the vendor's, is it fresh, and which runs does it speak of.

The headers and how they are signed are documented. The vendor's client reads the body as a run; the service's own pages
don't say what it looks like, so runs are looked for one level further down too.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from paceline.hints import HINT_MOST, RunHint

SIGNATURE = "X-Kolena-Signature"
TIMESTAMP = "X-Kolena-Timestamp"
DELIVERY_ID = "X-Kolena-Delivery-ID"

OLDEST_S = 300.0
"""A delivery may be so old: the vendor's quick retries take seconds; what it repeats later carries no news."""

FUTURE_S = 60.0
"""A delivery may be from so far ahead: for clocks that differ. The vendor's own helper sets no bound here."""

REMEMBERED_S = 600
"""How long a delivery's id is remembered: longer than its timestamp can pass, whichever clock is off."""

PLACES = ("run", "data", "agent_run", "payload")
"""Where in a body a run is looked for [guess], beside at its top [doc, in the client]."""

DEPTH = 3
"""So many of these inside each other, the run included."""

_SIGNATURE = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_DELIVERY_ID = re.compile(r"[\x21-\x7e]{1,200}", re.ASCII)
_ID = re.compile(r"[0-9]{1,18}", re.ASCII)


class Refused(Exception):
    """A delivery isn't taken. `status` is what to answer, `reason` a constant word for answer and log."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a delivery's headers say; nothing of it is proven before `check` has passed."""

    id: str
    timestamp: str
    signature: str

    @property
    def digest(self) -> str:
        """Name the delivery in a key: its id may hold anything."""
        return hashlib.sha256(self.id.encode()).hexdigest()[:32]


def read_headers(headers: Mapping[str, Sequence[str]], now_s: float) -> Delivery:
    """Read the headers, named in lower case. Raises `Refused`: 400 for what is missing or odd, 401 out of time."""
    delivery = Delivery(
        _only(headers, DELIVERY_ID, _DELIVERY_ID),
        _only(headers, TIMESTAMP, _TIMESTAMP),
        _only(headers, SIGNATURE, _SIGNATURE),
    )
    age_s = now_s - int(delivery.timestamp)
    if age_s > OLDEST_S:
        raise Refused(401, "too_old")
    if age_s < -FUTURE_S:
        raise Refused(401, "from_the_future")
    return delivery


def check(delivery: Delivery, body: bytes, secret: bytes) -> None:
    """Raise `Refused` unless whoever knows the secret has signed this."""
    if not hmac.compare_digest(delivery.signature, sign(secret, delivery.timestamp, delivery.id, body)):
        raise Refused(401, "wrong_signature")


def sign(secret: bytes, timestamp: str, delivery_id: str, body: bytes) -> str:
    """Return the signature as the vendor makes it."""
    return hmac.new(secret, f"{timestamp}.{delivery_id}.".encode() + body, hashlib.sha256).hexdigest()


def runs_in(value: object) -> list[RunHint] | None:
    """Find the runs that a body or an event speaks of and that have ended as far as it says.

    Empty: they are still running. None: it speaks of no run that could be found.
    """
    found = _objects(value, DEPTH)
    if not found:
        return None
    return [_hint(run) for run in found[:HINT_MOST] if run.get("status") != "running"]


def _objects(value: object, depth: int) -> list[Mapping[str, Any]]:
    if not isinstance(value, dict):
        return []
    if _id(value.get("run_id")):
        return [value]
    inner = [value.get(place) for place in PLACES] if depth > 1 else []
    return [run for one in inner for run in _objects(one, depth - 1)]


def _hint(run: Mapping[str, Any]) -> RunHint:
    external = run.get("user_defined_id")
    return RunHint(_id(run["run_id"]) or "", _id(run.get("agent_id")), external if isinstance(external, str) else None)


def _id(value: object) -> str | None:
    """Return an id as text: an integer, or one written as text; None for anything else."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return str(int(text)) if _ID.fullmatch(text) else None


def _only(headers: Mapping[str, Sequence[str]], name: str, form: re.Pattern[str]) -> str:
    values = headers.get(name.lower(), ())
    if not values:
        raise Refused(400, f"no_{name.rpartition('-')[2].lower()}")
    if len(values) > 1 or not form.fullmatch(values[0]):
        raise Refused(400, f"bad_{name.rpartition('-')[2].lower()}")
    return values[0]
