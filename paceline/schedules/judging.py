"""Judge a night: how it ended, and what somebody should be told of.

Pure. How its batch ended is judged in `paceline.ending`, as for the command's exit codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from paceline.ending import Ended
from paceline.schedules.night import Night, NightState, Skip
from paceline.times import iso


class Event(StrEnum):
    """What somebody is told of."""

    DEADLINE = "deadline_missed"  # the night wasn't complete by then
    FAILED = "failed"  # more failures than tolerated, or no usable file
    HELD = "held"  # it goes on only when a person acts
    NOT_STARTED = "not_started"  # it couldn't be started
    SKIPPED = "skipped"  # left out, as the night before wasn't complete
    SUCCEEDED = "succeeded"  # done, or nothing to do; only with `tell_success`


@dataclass(frozen=True, slots=True)
class End:
    """How a night's batch stands, with its summary. `finished_ms` is None while it is open; `closed`: complete."""

    ended: Ended
    summary: Mapping[str, Any] | None = None
    finished_ms: int | None = None
    closed: bool = False
    why: str = ""


def events(night: Night, end: End, now_ms: int, *, tell_success: bool) -> list[Event]:
    """Return what is to be told of a night now, told or not."""
    if night.state is NightState.FAILED:
        return [Event.NOT_STARTED]
    if night.state is NightState.SKIPPED:
        if night.reason == Skip.OVERLAP:
            return [Event.SKIPPED]
        return [Event.SUCCEEDED] if tell_success and night.reason == Skip.NOTHING else []
    found = []
    done_ms = end.finished_ms if night.state is NightState.STARTED and end.closed else None
    if night.deadline_ms is not None and night.deadline_ms < (now_ms if done_ms is None else done_ms):
        found.append(Event.DEADLINE)
    if night.state is NightState.STARTED:
        if end.ended in (Ended.FAILURES, Ended.UNUSABLE):
            found.append(Event.FAILED)
        if end.ended is Ended.HELD:
            found.append(Event.HELD)
        if end.ended in (Ended.DONE, Ended.NOTHING) and tell_success:
            found.append(Event.SUCCEEDED)
    return [] if end.ended is Ended.GONE else found


def is_through(night: Night, end: End) -> bool:
    """Tell whether nothing more happens to a night, so that it is settled once everything is told."""
    if night.state is NightState.STARTED:
        return end.closed or end.ended is Ended.GONE
    return night.state in (NightState.FAILED, NightState.SKIPPED)


def settled_as(night: Night, end: End) -> str:
    """Return the word for how a night that is through ended."""
    if night.state is NightState.STARTED:
        return end.ended.value
    return night.state.value


def describe(event: Event, night: Night, end: End) -> str:
    """Write an event for people, in a line."""
    about = f"{night.schedule} of {night.shown}"
    summary = end.summary or {}
    files = summary.get("files", {})
    counts = f"{files.get('succeeded', 0):,} of {files.get('total', 0):,} files succeeded" if files else ""
    match event:
        case Event.DEADLINE:
            late = f"it was complete at {iso(end.finished_ms)}, " if end.closed and end.finished_ms is not None else ""
            return f"{about} missed its deadline: {late}{counts or 'it is not started yet'}"
        case Event.FAILED if end.ended is Ended.UNUSABLE:
            return f"{about} failed: no file passed the checks, {files.get('skipped', 0):,} left out"
        case Event.FAILED:
            return f"{about} failed: {counts}, {files.get('failed', 0):,} failed"
        case Event.HELD:
            return f"{about} waits for a person: {end.why or 'see paceline status'}"
        case Event.NOT_STARTED:
            return f"{about} couldn't be started: {night.error}"
        case Event.SKIPPED:
            return f"{about} was left out: the night before wasn't complete"
        case Event.SUCCEEDED:
            return f"{about} is done: {counts}" if end.ended is Ended.DONE else f"{about} had nothing to do"
