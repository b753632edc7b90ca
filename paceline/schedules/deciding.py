"""Decide what becomes of due times that have come, and which night goes on.

Pure: a schedule's rules, its nights and the time come in, what is to be done comes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from paceline.schedules.due import ms_of
from paceline.schedules.night import Night, NightState, Skip

MOST_TRIES = 10
"""A night that couldn't be started so often is given up: something is wrong that a person must see."""

MOST_WAITING = 100
"""So many nights may wait; further ones are left out, and somebody is told: a batch that is stuck for days would
otherwise be followed by hundreds, each of which is paid for."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How a schedule treats due times.

    `catch_up`: latest, all or none. `queues`: a night waits for the one before, instead of being left out. One noticed
    `late_s` after it was due was missed.
    """

    catch_up: str = "latest"
    queues: bool = False
    late_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Noted:
    """What was decided about a due time."""

    due: datetime
    state: NightState
    reason: str = ""


def is_open(night: Night, complete: bool) -> bool:
    """Tell whether later nights have to mind this one; `complete`: its batch is."""
    if night.state is NightState.STARTED:
        return not complete
    return night.state in (NightState.WAITING, NightState.STARTING)


def decide(
    rules: Rules, dues: Sequence[datetime], *, busy: bool, paused: bool, now: datetime, waiting: int = 0
) -> list[Noted]:
    """Decide about the due times that have come, in order.

    `busy`: a night before them is open; `waiting`: so many nights wait for their turn already.
    """
    found = []
    for at, due in enumerate(dues):
        full = waiting >= MOST_WAITING
        one = _decide(rules, due, last=at == len(dues) - 1, busy=busy, full=full, paused=paused, now=now)
        waiting += one.state is NightState.WAITING
        busy = busy or one.state in (NightState.STARTING, NightState.WAITING)
        found.append(one)
    return found


def _decide(rules: Rules, due: datetime, *, last: bool, busy: bool, full: bool, paused: bool, now: datetime) -> Noted:
    missed = (now - due).total_seconds() > rules.late_s
    if paused:
        return Noted(due, NightState.SKIPPED, Skip.PAUSED)
    if missed and (rules.catch_up == "none" or (rules.catch_up == "latest" and not last)):
        return Noted(due, NightState.SKIPPED, Skip.MISSED)
    if not busy:
        return Noted(due, NightState.STARTING)
    if not full and (rules.queues or (missed and rules.catch_up == "all")):
        return Noted(due, NightState.WAITING)
    return Noted(due, NightState.SKIPPED, Skip.OVERLAP)


def to_take(nights: Iterable[tuple[Night, bool]], *, paused: bool, now: datetime) -> Night | None:
    """Return the night that can be taken now: one abandoned by whoever started it, else the first that waits.

    `nights` come in order, each with whether its batch is complete. While the schedule is paused nothing that waits is
    begun; what was begun goes on.
    """
    waiting: Night | None = None
    busy = False
    for night, complete in nights:
        if night.state is NightState.STARTING and (night.lease_ms or 0) <= ms_of(now):
            return night
        if night.state is NightState.WAITING:
            waiting = waiting or night
        elif is_open(night, complete):
            busy = True
    return None if busy or paused else waiting
