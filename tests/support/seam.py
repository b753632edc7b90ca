"""One seam through which every effect on the outside goes, so that each can be the last, be cut off, or be late.

Outside are Redis (every script and every other write), the provider, the sink, the results backend, the spool and the
message queue. Effects are counted from 0; a schedule says at which of them something goes wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from redis.exceptions import ConnectionError as NoConnection

from paceline.scripts import Arg, Scripts


class Crash(BaseException):
    """The process is gone, as by SIGKILL: no handler of ours may run, so it is no `Exception`."""


class Mode(StrEnum):
    """What goes wrong at an effect."""

    CRASH_BEFORE = "crash before"
    CRASH_AFTER = "crash after"
    CUT_BEFORE = "cut before"  # the connection to Redis breaks before the command arrives
    CUT_AFTER = "cut after"  # the command ran, its reply is lost
    STALL = "stall"  # the process is stopped for longer than every lease, while others go on
    SAVE = "save"  # Redis is as it will be put back to
    PUT_BACK_DEAD = "put back, all dead"  # Redis is put back to an older state, and no process is left
    PUT_BACK_ALIVE = "put back, alive"  # … and the process goes on
    PUT_BACK_STALLED = "put back, stalled"  # … and the process goes on after a long stop


SIMPLE = (Mode.CRASH_BEFORE, Mode.CRASH_AFTER, Mode.CUT_BEFORE, Mode.CUT_AFTER, Mode.STALL)
PUTTING_BACK = (Mode.PUT_BACK_DEAD, Mode.PUT_BACK_ALIVE, Mode.PUT_BACK_STALLED)


class Seam:
    """Counts effects and lets the planned things happen."""

    def __init__(self, plan: Mapping[int, Mode] | None = None) -> None:
        self.plan = dict(plan or {})
        self.names: list[str] = []
        self.on = True
        self.stall: Callable[[], None] = lambda: None
        self.save: Callable[[], None] = lambda: None
        self.put_back: Callable[[], None] = lambda: None
        self._depth = 0

    def effect(self, name: str, call: Callable[[], Any], *, redis: bool = False) -> Any:
        """Carry out an effect, or what the plan has for it."""
        if not self.on or self._depth:
            return call()
        mode = self.plan.get(len(self.names))
        self.names.append(name)
        if mode is Mode.CRASH_BEFORE:
            raise Crash(name)
        if mode is Mode.CUT_BEFORE and redis:
            raise NoConnection(name)
        if mode is Mode.SAVE:
            self.save()
        if mode in PUTTING_BACK:
            self.put_back()
        if mode is Mode.PUT_BACK_DEAD:
            raise Crash(name)
        if mode in (Mode.STALL, Mode.PUT_BACK_STALLED):
            self._depth += 1
            try:
                self.stall()
            finally:
                self._depth -= 1
        done = call()
        if mode is Mode.CRASH_AFTER:
            raise Crash(name)
        if mode is Mode.CUT_AFTER and redis:
            raise NoConnection(name)
        return done


class SeamScripts(Scripts):
    """Scripts through the seam."""

    def __init__(self, redis: Any, seam: Seam) -> None:
        super().__init__(redis, clock="key")
        self._seam = seam

    def run(self, name: str, keys: Sequence[str], args: Sequence[Arg] = ()) -> Any:
        """Run a script."""
        return self._seam.effect(name, lambda: super(SeamScripts, self).run(name, keys, args), redis=True)

    def run_many(self, name: str, calls: Sequence[tuple[Sequence[str], Sequence[Arg]]]) -> list[Any]:
        """Run a script several times. Each is an effect: a connection can break between any two of them."""
        return [self.run(name, keys, args) for keys, args in calls]


class SeamRedis:
    """A client whose writes beside the scripts go through the seam."""

    def __init__(self, redis: Any, seam: Seam) -> None:
        self._redis = redis
        self._seam = seam

    def __getattr__(self, name: str) -> Any:
        return getattr(self._redis, name)

    def hset(self, *args: Any, **named: Any) -> Any:
        """Write a hash."""
        return self._seam.effect("hset", lambda: self._redis.hset(*args, **named), redis=True)

    def pipeline(self, **named: Any) -> Any:
        """Open a pipeline whose `execute` is an effect."""
        pipe = self._redis.pipeline(**named)
        execute = pipe.execute
        pipe.execute = lambda: self._seam.effect("pipeline", execute, redis=True)
        return pipe


class Through:
    """An object some of whose methods are effects."""

    def __init__(self, inside: Any, seam: Seam, name: str, methods: Sequence[str]) -> None:
        self._inside = inside
        self._seam = seam
        self._name = name
        self._methods = frozenset(methods)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inside, name)
        if name not in self._methods:
            return found
        return lambda *args, **named: self._seam.effect(f"{self._name}.{name}", lambda: found(*args, **named))
