"""The nights of all schedules in Redis: noted once each, started by one process at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis

from paceline import redis_keys as keys
from paceline.schedules.night import Night, NightState, parse_night
from paceline.scripts import Arg, Scripts

KEPT = 100
"""Nights kept for each schedule, beside those that aren't through."""

FORGET_MS = 400 * 86_400_000
"""A schedule that nobody looks at for so long, and a night after so long, are forgotten: a yearly one is just not."""

TELL_LONGEST_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Standing:
    """How a schedule stands: Redis time, the last due time that was decided on, and whether it is paused.

    `former`: the cron and zone that it had until this look, where it begins anew with others.
    """

    now_ms: int
    decided_ms: int
    paused: bool
    former: str = ""


@dataclass(frozen=True, slots=True)
class SchedulePause:
    """Who paused a schedule, when and why."""

    since_ms: int
    by: str
    reason: str


class Nights:
    """Reads and writes nights. Thread-safe. Times are those of Redis."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis: Any = redis  # redis-py types replies as unions of every mode it has; ours are bytes
        self._scripts = scripts

    def see(self, schedule: str, times: str) -> Standing:
        """Look at a schedule; `times` are its cron and zone. One that is new, or has other times now, begins now."""
        now, decided, paused, former = self._scripts.run("schedule_see", [keys.schedule(schedule)], [times, FORGET_MS])
        return Standing(int(now), int(decided), bool(paused), former.decode())

    def times(self, schedule: str) -> str | None:
        """Return the cron and zone that whoever looked last goes by; None where nobody has looked."""
        raw = self._redis.hget(keys.schedule(schedule), "times")
        return raw.decode() if raw is not None else None

    def claim(
        self,
        schedule: str,
        due_ms: int,
        state: NightState,
        asked: Mapping[str, Any],
        *,
        reason: str = "",
        error: str = "",
        holder: str = "",
        lease_s: float = 0.0,
        decided_ms: int | None,
    ) -> int:
        """Note a night, once however often it is asked: 1, 2 if it is noted already, 0 if others were meanwhile.

        `decided_ms` is the `Standing`'s on which the decision was made; None for a night that a person starts.
        """
        wanted = [keys.schedule(schedule), keys.nights(schedule), keys.night(schedule, due_ms)]
        args: list[Arg] = [due_ms, state.value, reason, json.dumps(asked), round(lease_s * 1000), holder]
        known = "" if decided_ms is None else str(decided_ms)
        args += [known, KEPT, keys.night(schedule, ""), _raw(error), FORGET_MS]
        return int(self._scripts.run("night_claim", wanted, args))

    def take(self, schedule: str, due_ms: int, holder: str, lease_s: float) -> int:
        """Take a night to start it; return the number of the try, 0 if it isn't to be had."""
        return self._take(schedule, due_ms, holder, lease_s, keep=False, batch="")

    def keep(self, schedule: str, due_ms: int, holder: str, lease_s: float, batch: str = "") -> bool:
        """Keep it for another lease, noting the batch that is begun; False if another one holds it by now."""
        return bool(self._take(schedule, due_ms, holder, lease_s, keep=True, batch=batch))

    def _take(self, schedule: str, due_ms: int, holder: str, lease_s: float, *, keep: bool, batch: str) -> int:
        args: list[Arg] = [holder, round(lease_s * 1000), "1" if keep else "", batch]
        return int(self._scripts.run("night_take", [keys.night(schedule, due_ms)], args))

    def end(
        self,
        schedule: str,
        due_ms: int,
        holder: str,
        state: NightState,
        *,
        reason: str = "",
        error: str = "",
        begun: bool = False,
    ) -> bool:
        """Note how starting it ended; False if another one holds it by now, and then nothing has changed.

        `begun`: the ledger has its batch. While it hasn't, what is asked isn't settled.
        """
        args: list[Arg] = [holder, state.value, reason, _raw(error), 0, int(begun)]
        return bool(self._scripts.run("night_end", [keys.night(schedule, due_ms)], args))

    def put_back(
        self, schedule: str, due_ms: int, holder: str, *, error: str = "", again_s: float = 0.0, begun: bool = True
    ) -> bool:
        """Let it be taken again after `again_s`; False if another one holds it by now. `begun` as for `end`."""
        args: list[Arg] = [holder, NightState.STARTING.value, "", _raw(error), round(again_s * 1000), int(begun)]
        return bool(self._scripts.run("night_end", [keys.night(schedule, due_ms)], args))

    def again(self, schedule: str, due_ms: int, holder: str, lease_s: float, asked: Mapping[str, Any]) -> bool:
        """Start it on a person's word; False if it is started already or somebody is about it."""
        args: list[Arg] = [holder, round(lease_s * 1000), json.dumps(asked)]
        return bool(self._scripts.run("night_again", [keys.night(schedule, due_ms)], args))

    def tell(self, night: Night, event: str, pause_s: float, most: int) -> int:
        """Take it on to tell of an event; return the number of the try, 0 if not now, -1 if it is told or given up."""
        args: list[Arg] = [event, round(pause_s * 1000), TELL_LONGEST_MS, most]
        return int(self._scripts.run("night_tell", [keys.night(night.schedule, night.due_ms)], args))

    def note_told(self, night: Night, event: str, now_ms: int) -> None:
        """Note that somebody was told of an event, unless the night isn't kept any more."""
        self._note(night, "", f"told:{event}", str(now_ms))

    def settle(self, night: Night, ended: str) -> None:
        """Note how it ended; nothing more is to be told of it. One that was started again since stays open."""
        self._note(night, night.state.value, "settled", ended)

    def _note(self, night: Night, seen: str, field: str, value: str) -> None:
        self._scripts.run("night_note", [keys.night(night.schedule, night.due_ms)], [seen, field, value])

    def find(self, schedule: str, due_ms: int) -> Night | None:
        """Return a night, or None."""
        raw = self._redis.hgetall(keys.night(schedule, due_ms))
        return parse_night(schedule, due_ms, raw) if b"state" in raw else None

    def last(self, schedule: str, number: int = 0) -> list[Night]:
        """Return the last nights, the oldest first, in two round trips; 0: all that are kept."""
        dues = [int(due) for due in self._redis.zrange(keys.nights(schedule), -number, -1)]
        with self._redis.pipeline(transaction=False) as pipe:
            for due in dues:
                pipe.hgetall(keys.night(schedule, due))
            rows = pipe.execute()
        return [parse_night(schedule, due, raw) for due, raw in zip(dues, rows, strict=True) if b"state" in raw]

    def pause(self, schedule: str, now_ms: int, by: str, reason: str) -> bool:
        """Pause a schedule; False if it is paused already, which stays."""
        key = keys.schedule(schedule)
        if not self._redis.hsetnx(key, "paused_ms", now_ms):
            return False
        self._redis.hset(key, mapping={"paused_by": _raw(by), "paused_why": _raw(reason)})
        self._redis.pexpire(key, FORGET_MS)
        return True

    def resume(self, schedule: str) -> bool:
        """Let a schedule go on; False if it wasn't paused."""
        return bool(self._redis.hdel(keys.schedule(schedule), "paused_ms", "paused_by", "paused_why"))

    def find_pause(self, schedule: str) -> SchedulePause | None:
        """Return a schedule's pause, None where it isn't paused."""
        since, by, why = self._redis.hmget(keys.schedule(schedule), ["paused_ms", "paused_by", "paused_why"])
        by, why = ((text or b"").decode("utf-8", "surrogateescape") for text in (by, why))
        return SchedulePause(int(since), by, why) if since else None


def _raw(text: str) -> bytes:
    """Return a text's bytes; a file's name in it may be no UTF-8."""
    return text.encode("utf-8", "surrogateescape")
