"""One look at a schedule: note the due times that have come, and say which night is to be started.

However many look at once, and however often, a due time is noted once and a night is taken by one: scripts see to that,
and who decided on an older view looks again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from paceline.errors import UsageError
from paceline.schedules.deciding import MOST_TRIES, Noted, Rules, decide, is_open, to_take
from paceline.schedules.due import Cron, at_ms, ms_of
from paceline.schedules.night import Night, NightState
from paceline.schedules.nights import KEPT, Nights

log = logging.getLogger("paceline.schedule")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a tick has to know of a schedule. `pin` says what a night is made from, and raises `UsageError`."""

    name: str
    times: Cron
    rules: Rules
    pin: Callable[[datetime], Mapping[str, Any]]

    @property
    def key(self) -> str:
        """Return what the due times depend on: with another one a schedule begins anew."""
        return key_of(self.times)


def key_of(times: Cron) -> str:
    """Write cron and zone as Redis has them."""
    return f"{times.expression} {times.zone_name}"


@dataclass(frozen=True, slots=True)
class Carry:
    """A night that this process has taken, and is to start now."""

    schedule: str
    due_ms: int
    holder: str


def tick(
    plan: Plan, nights: Nights, complete: Callable[[Night], bool], new_holder: Callable[[], str], lease_s: float
) -> Carry | None:
    """Look at a schedule once. `complete` tells whether a started night's batch is."""
    standing = nights.see(plan.name, plan.key)
    if standing.former:  # again and again: two machines' settings differ, and no due time is ever reached
        log.warning("schedule.begins_anew", extra={"schedule": plan.name, "times": plan.key, "former": standing.former})
    now = at_ms(standing.now_ms)
    dues = plan.times.between(at_ms(standing.decided_ms), now, KEPT)
    # What is settled is over, also where a person has some of its batch sent again.
    known = [
        (night, bool(night.settled) or (night.state is NightState.STARTED and complete(night)))
        for night in nights.last(plan.name)
    ]
    busy = any(is_open(night, over) for night, over in known)
    waiting = sum(night.state is NightState.WAITING for night, _ in known)
    decided_ms, found = standing.decided_ms, None
    for noted in decide(plan.rules, dues, busy=busy, waiting=waiting, paused=standing.paused, now=now):
        holder = new_holder()
        answer, state = _note(plan, nights, noted, holder, lease_s, decided_ms)
        if not answer:
            return found  # somebody else is about it
        if answer == 1 and state is NightState.STARTING:
            found = Carry(plan.name, ms_of(noted.due), holder)
        decided_ms = ms_of(noted.due)
    return found or _take(plan, nights, known, new_holder(), lease_s, paused=standing.paused, now=now)


def _note(
    plan: Plan, nights: Nights, noted: Noted, holder: str, lease_s: float, decided_ms: int
) -> tuple[int, NightState]:
    """Note a night as decided, or as failed where it can't be made; return what `Nights.claim` says, and its state."""
    state, error = noted.state, ""
    asked: Mapping[str, Any] = {}
    try:
        asked = plan.pin(noted.due)
    except UsageError as problem:
        state, error = NightState.FAILED, str(problem)
    answer = nights.claim(
        plan.name,
        ms_of(noted.due),
        state,
        asked,
        reason=noted.reason,
        error=error,
        holder=holder,
        lease_s=lease_s,
        decided_ms=decided_ms,
    )
    return answer, state


def _take(
    plan: Plan,
    nights: Nights,
    known: list[tuple[Night, bool]],
    holder: str,
    lease_s: float,
    *,
    paused: bool,
    now: datetime,
) -> Carry | None:
    night = to_take(known, paused=paused, now=now)
    if night is None:
        return None
    tries = nights.take(plan.name, night.due_ms, holder, lease_s)
    if tries > MOST_TRIES:
        error = night.error or f"the process that plans it has died {MOST_TRIES} times; see home/log"
        nights.end(plan.name, night.due_ms, holder, NightState.FAILED, error=error, begun=True)
        return None
    return Carry(plan.name, night.due_ms, holder) if tries else None


def note_paused(plan: Plan, nights: Nights) -> None:
    """Note what came due of a paused schedule and nobody has looked at: it isn't caught up when it goes on."""
    standing = nights.see(plan.name, plan.key)
    now, decided_ms = at_ms(standing.now_ms), standing.decided_ms
    dues = plan.times.between(at_ms(decided_ms), now, KEPT)
    for noted in decide(plan.rules, dues, busy=False, paused=True, now=now):
        if not _note(plan, nights, noted, "", 0.0, decided_ms)[0]:
            return
        decided_ms = ms_of(noted.due)
