"""Draws what a round does from its seed: the files, the provider's faults, whom to kill and when.

The same seed gives the same plan. What a kill then hits depends on timing.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Mode(StrEnum):
    """How the work is run."""

    RUN = "run"  # `paceline run`, with its own Redis and workers
    BACKGROUND = "background"  # `paceline submit` and `up`, with an embedded Redis
    FLEET = "fleet"  # the same around a Redis on a TCP port


class Victim(StrEnum):
    """Who is killed."""

    SENDERS = "senders"  # all upload workers
    SENDER = "sender"  # one upload worker
    REST = "rest"  # the worker that polls, reconciles and exports
    COMMAND = "command"  # `paceline run`, or the supervisor
    REDIS = "redis"
    EVERYTHING = "everything"  # all processes at once
    STOPPED = "stopped"  # an upload worker, stopped for longer than its lease; goes on afterwards


class Point(StrEnum):
    """When: at an exact point of an upload, as the sandbox sees it, or after a while."""

    WHILE = "while"  # so many seconds after the last one
    HEAD = "head"  # the headers have arrived, no byte of the body is read
    FIRST = "first"  # the first bytes of the body were read
    MIDDLE = "middle"  # half of it
    DEEP = "deep"  # a megabyte of it: more is still on its way
    LAST = "last"  # the whole body, nothing accepted yet
    ACCEPTED = "accepted"  # accepted, and not answered
    ANSWERED = "answered"  # the answer has just left


FAULT_AT: Mapping[Point, str] = MappingProxyType(
    {
        Point.HEAD: "hang_before@add:seconds=3",
        Point.FIRST: "stall_at@add:bytes=1,seconds=10",
        Point.MIDDLE: "stall_at@add:fraction=0.5,seconds=10",
        Point.DEEP: "stall_at@add:bytes=1000000,seconds=10",
        Point.LAST: "stall_at@add:fraction=1,seconds=10",
        Point.ACCEPTED: "accept_then_hang@add:seconds=3",
    }
)
"""The sandbox's fault that stops an upload at each point."""

FAULTS = (
    "status@add:code=503,p=0.02",
    "status@add:code=429,retry_after=1,p=0.01",
    "drop_before@add:p=0.02",
    "reset_at@add:fraction=0.5,p=0.02",
    "accept_then_status@add:code=502,p=0.04",
    "accept_then_drop@add:p=0.04",
    "accept_then_reset@add:p=0.04",
    "accept_then_truncate@add:p=0.04",
    "accept_then_html@add:p=0.04",
    "delay@add:seconds=0.5,p=0.05",
    "status@list:code=503,p=0.05",
    "list_malformed@list:how=truncated,p=0.03",
    # Longer than the first look takes to come, which therefore proves nothing; half of the settling time.
    "list_lag@list:seconds=1.5,p=0.7",
    "fail_runs@add:p=0.05",
)
"""What the provider may do meanwhile. Each round has some of them."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: whom, when, and for WHILE after how many seconds. `pick` chooses among several processes."""

    victim: Victim
    point: Point
    after_s: float
    pick: int

    def __str__(self) -> str:
        when = f"after {self.after_s:.1f} s" if self.point is Point.WHILE else f"at {self.point}"
        return f"{self.victim} {when}"


@dataclass(frozen=True, slots=True)
class Plan:
    """One round. `sizes` are the files' in bytes, `kills` in order."""

    seed: str
    mode: Mode
    files_per_run: int
    sizes: tuple[int, ...]
    faults: tuple[str, ...]
    kills: tuple[Kill, ...]


def draw(seed: int, number: int, *, submissions: int, kills: int, mode: Mode | None = None) -> Plan:
    """Draw round `number` (from 1) of a soak; None takes one mode after the other."""
    name = f"{seed}/{number}"
    dice = random.Random(name)
    modes = list(Mode)
    files_per_run = dice.randint(1, 3)
    return Plan(
        seed=name,
        mode=mode or modes[(number - 1) % len(modes)],
        files_per_run=files_per_run,
        sizes=tuple(_size(dice) for _ in range(submissions * files_per_run)),
        faults=tuple(fault for fault in FAULTS if dice.random() < 0.6),
        kills=tuple(_kill(dice) for _ in range(kills)),
    )


def _size(dice: random.Random) -> int:
    kind = dice.random()
    if kind < 0.75:
        return dice.randint(1, 20_000)
    return dice.randint(50_000, 400_000) if kind < 0.94 else dice.randint(2_000_000, 5_000_000)


def _kill(dice: random.Random) -> Kill:
    # At a point of an upload it matters that the sender is hit; otherwise everybody has the same chance.
    if dice.random() < 0.6:
        point = dice.choice([*FAULT_AT, Point.ANSWERED])
        victims = {Victim.SENDERS: 6, Victim.EVERYTHING: 2, Victim.REDIS: 2, Victim.COMMAND: 1, Victim.STOPPED: 1}
    else:
        point = Point.WHILE
        victims = {Victim.SENDER: 2, Victim.REST: 3, Victim.EVERYTHING: 2, Victim.REDIS: 3, Victim.COMMAND: 3}
    victim = dice.choices(list(victims), list(victims.values()))[0]
    if victim is Victim.STOPPED:
        point = Point.DEEP  # what is in the sockets arrives in any case; something has to be left for later
    return Kill(victim, point, dice.uniform(0.2, 1.5), dice.randrange(1_000))
