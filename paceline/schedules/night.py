"""What is remembered of one due time of a schedule."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from paceline.schedules.due import at_ms


class NightState(StrEnum):
    """Where a night stands."""

    WAITING = "waiting"  # behind the night before
    STARTING = "starting"  # its batch is being planned
    STARTED = "started"  # its batch is planned; how that stands, the ledger knows
    SKIPPED = "skipped"  # left out, with a reason
    FAILED = "failed"  # it couldn't be started, with the error


class Skip(StrEnum):
    """Why a night was left out."""

    OVERLAP = "overlap"  # the night before wasn't complete
    MISSED = "missed"  # nothing ticked when it was due, and `catch_up` leaves it out
    PAUSED = "paused"  # the schedule was paused
    NOTHING = "nothing_to_do"  # the source had no file


@dataclass(frozen=True, slots=True)
class Night:
    """A night as Redis has it. Times are milliseconds, None where that hasn't happened.

    `asked` is what the batch is made from, as it stood when the night was noted: see `config.pinning`. `batch` is
    known from right before it is begun. `told` are the events that somebody was told of, with the time, or `given up`.
    """

    schedule: str
    due_ms: int
    state: NightState
    reason: str = ""
    asked: Mapping[str, Any] = field(default_factory=dict)
    batch: str | None = None
    error: str = ""
    noted_ms: int = 0
    lease_ms: int | None = None
    holder: str = ""
    tries: int = 0
    told: Mapping[str, str] = field(default_factory=dict)
    settled: str = ""
    again: int = 0

    @property
    def due(self) -> datetime:
        """Return the due time, in UTC."""
        return at_ms(self.due_ms)

    @property
    def shown(self) -> str:
        """Return the due time as the schedule's zone shows it."""
        return str(self.asked.get("due", ""))

    @property
    def deadline_ms(self) -> int | None:
        """Return by when it must be done, None where nothing was said."""
        found = self.asked.get("deadline_ms")
        return found if isinstance(found, int) else None


def parse_night(schedule: str, due_ms: int, raw: Mapping[bytes, bytes]) -> Night:
    """Read a night's hash."""
    row = {name.decode(): value.decode("utf-8", "surrogateescape") for name, value in raw.items()}
    told = {name.removeprefix("told:"): value for name, value in row.items() if name.startswith("told:")}
    return Night(
        schedule,
        due_ms,
        NightState(row["state"]),
        reason=row.get("reason", ""),
        asked=json.loads(row.get("asked") or "{}"),
        batch=row.get("batch"),
        error=row.get("error", ""),
        noted_ms=int(row.get("noted_ms", 0)),
        lease_ms=int(row["lease_ms"]) if "lease_ms" in row else None,
        holder=row.get("holder", ""),
        tries=int(row.get("tries", 0)),
        told=told,
        settled=row.get("settled", ""),
        again=int(row.get("again", 0)),
    )
