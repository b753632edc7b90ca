"""Schedules without processes: ticks of many workers on a clock moved by hand, batches complete when told."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from paceline.schedules.deciding import Rules
from paceline.schedules.due import Cron, ms_of
from paceline.schedules.night import Night, NightState
from paceline.schedules.nights import Nights
from paceline.schedules.ticking import Carry, Plan, tick
from paceline.scripts import Scripts

START = datetime(2026, 11, 22, 0, 30, tzinfo=UTC)
CLOCK = "pl:test:clock"
LEASE_S = 60.0
LATE_S = 300.0


class Interrupting(Nights):
    """Lets something else happen between the look at a schedule and what is done about it."""

    def __init__(self, redis: Any, scripts: Scripts, between: Callable[[], None]) -> None:
        super().__init__(redis, scripts)
        self._between = between

    def last(self, schedule: str, number: int = 0) -> list[Night]:
        found = super().last(schedule, number)
        self._between()
        return found


class Machine:
    """Ticks of any number of workers, carriers that can be killed, batches that are complete when told."""

    def __init__(self, redis: Any, *, cron: str = "0 * * * *", catch_up: str = "latest", queues: bool = False) -> None:
        redis.flushdb()
        self.redis = redis
        self.scripts = Scripts(redis, clock="key")
        self.nights = Nights(redis, self.scripts)
        self.plan = Plan("n", Cron(cron), Rules(catch_up, queues, LATE_S), self.pin)
        self.now = START
        self.pass_(0)
        self.carriers: list[Carry] = []
        self.opened: dict[str, int] = {}
        self.complete: set[str] = set()
        self.most_open = 0
        self._numbers = itertools.count()

    def pin(self, due: datetime) -> dict[str, Any]:
        return {"due": due.isoformat(), "schedule": f"n@{due.isoformat()}"}

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.redis.set(CLOCK, ms_of(self.now))

    def tick(self, nights: Nights | None = None) -> None:
        used = nights or self.nights
        found = tick(self.plan, used, self.is_complete, lambda: f"w#{next(self._numbers)}", LEASE_S)
        if found is not None:
            self.carriers.append(found)

    def two_at_once(self) -> None:
        self.tick(Interrupting(self.redis, self.scripts, self.tick))

    def is_complete(self, night: Night) -> bool:
        return night.batch in self.complete

    def begin(self, carry: Carry) -> bool:
        """As far as the ledger: the batch is noted, then opened, which may be done twice."""
        night = self.nights.find(carry.schedule, carry.due_ms)
        assert night is not None
        batch = f"batch of {night.asked['schedule']}"
        if not self.nights.keep(carry.schedule, carry.due_ms, carry.holder, LEASE_S, batch):
            return False
        self.opened[batch] = self.opened.get(batch, 0) + 1
        self.most_open = max(self.most_open, len(self.opened.keys() - self.complete))
        return True

    def carry(self, carry: Carry) -> None:
        if self.begin(carry):
            assert self.nights.end(carry.schedule, carry.due_ms, carry.holder, NightState.STARTED, begun=True)

    def finish_all(self) -> None:
        self.complete |= self.opened.keys()

    def settle(self) -> None:
        """Let everything come to its end, once the leases of those that died have run out."""
        self.pass_(LEASE_S)
        for _ in range(300):
            self.tick()
            for one in self.carriers:
                self.carry(one)
            self.carriers.clear()
            self.finish_all()
            if not any(night.state in (NightState.WAITING, NightState.STARTING) for night in self.nights.last("n")):
                return
        raise AssertionError("it never comes to rest")

    def outcomes(self) -> list[str]:
        return [night.reason or night.state.value for night in self.nights.last("n")]
