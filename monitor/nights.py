"""Reads the schedules and their last nights for the metrics, within the round trips of `monitor.reading`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monitor.catalog import NIGHTS
from paceline import redis_keys as keys
from paceline.batch_view import BatchView
from paceline.ending import Ended
from paceline.schedules.judging import End, Event, events
from paceline.schedules.night import Night, NightState, parse_night


@dataclass(frozen=True, slots=True)
class ScheduleFacts:
    """A schedule as Redis has it; its last nights, the newest first."""

    paused: bool
    nights: Sequence[Night]


def ask_schedules(pipe: Any, names: Iterable[str]) -> None:
    """Ask for the pauses and the due times of the last nights."""
    for name in names:
        pipe.hget(keys.schedule(name), "paused_ms")
        pipe.zrevrange(keys.nights(name), 0, NIGHTS - 1)


def take_schedules(rows: Iterator[Any], names: Iterable[str]) -> dict[str, tuple[bool, list[int]]]:
    """Take the answers to `ask_schedules`: whether it is paused, and the due times, by schedule."""
    return {name: (next(rows) is not None, [int(due) for due in next(rows)]) for name in names}


def ask_nights(pipe: Any, found: Mapping[str, tuple[bool, list[int]]]) -> None:
    """Ask for the nights themselves."""
    for name, (_, dues) in found.items():
        for due in dues:
            pipe.hgetall(keys.night(name, due))


def take_nights(rows: Iterator[Any], found: Mapping[str, tuple[bool, list[int]]]) -> dict[str, ScheduleFacts]:
    """Take the answers to `ask_nights`."""
    facts = {}
    for name, (paused, dues) in found.items():
        raws = [(due, next(rows)) for due in dues]
        facts[name] = ScheduleFacts(paused, [parse_night(name, due, raw) for due, raw in raws if b"state" in raw])
    return facts


def missed(night: Night, batches: Mapping[str, BatchView], now_ms: int) -> tuple[bool, bool]:
    """Tell whether a night missed its deadline, and whether it is still late. One whose batch is gone isn't judged."""
    batch = batches.get(night.batch or "")
    if batch is None and night.state is NightState.STARTED:
        return False, False
    finished = batch.finished_ms if batch else None
    end = End(Ended.OPEN, finished_ms=finished, closed=batch is not None and batch.closed)
    late = Event.DEADLINE in events(night, end, now_ms, tell_success=False)
    return late, late and not end.closed
