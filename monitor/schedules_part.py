"""What the page of all batches says about schedules: the last night of each, and its next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from config.schedules import Schedule
from config.schema import Settings
from monitor import shown
from monitor.facts import Head
from paceline import redis_keys as keys
from paceline.schedules.beats import live_beats
from paceline.schedules.due import at_ms, written
from paceline.schedules.night import Night, NightState, parse_night

_PAUSE = ("paused_ms", "paused_by", "paused_why")


def make(redis: Any, settings: Settings, now_ms: int, batches: Mapping[str, Head]) -> dict[str, Any] | None:
    """Read and write it, in three round trips however many schedules there are; None where there is none."""
    schedules = list(settings.schedules.values())
    if not schedules:
        return None
    with redis.pipeline(transaction=False) as pipe:
        for one in schedules:
            pipe.hmget(keys.schedule(one.name), _PAUSE)
            pipe.zrange(keys.nights(one.name), -1, -1)
        answers = pipe.execute()
    pauses, dues = answers[::2], [int(due[0]) if due else None for due in answers[1::2]]
    with redis.pipeline(transaction=False) as pipe:
        for one, due in zip(schedules, dues, strict=True):
            pipe.hgetall(keys.night(one.name, due or 0))
        raws = pipe.execute()
    rows = []
    for one, pause, due, raw in zip(schedules, pauses, dues, raws, strict=True):
        night = parse_night(one.name, due, raw) if due is not None and b"state" in raw else None
        rows.append(row(one, night, pause, now_ms, batches))
    return {"rows": rows, "beat": bool(live_beats(redis, now_ms))}


def row(
    schedule: Schedule, night: Night | None, pause: list[bytes | None], now_ms: int, batches: Mapping[str, Head]
) -> dict[str, Any]:
    """Write a schedule's row."""
    since, by, why = (None if one is None else one.decode("utf-8", "replace") for one in pause)
    following = schedule.times.next(at_ms(now_ms), 1)
    return {
        "name": schedule.name,
        "times": f"{schedule.cron} in {schedule.zone}",
        "last": "" if night is None else night.shown or shown.stamp(night.due_ms),
        "state": "" if night is None else _state(night, batches),
        "why": "" if night is None else night.reason or night.error,
        "batch": (night.batch or "") if night else "",
        "next": written(following[0]) if following else "",
        "paused": f"paused since {shown.stamp(int(since))} by {by} {why or ''}".rstrip() if since else "",
    }


def _state(night: Night, batches: Mapping[str, Head]) -> str:
    """Return how a night stands: as its batch does, once it was started."""
    head = batches.get(night.batch or "")
    if night.state is NightState.STARTED and head is not None and head.state is not None:
        return head.state.value
    return night.settled or night.state.value
