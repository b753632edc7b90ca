"""Bounds one exchange as a whole, whichever system call it is blocked in.

A timeout per system call isn't enough: a peer that takes or gives one byte a second never runs into it. So a thread
waits beside all exchanges and, when the time of one is over, shuts the socket down under it; the blocked call returns
at once with an error.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from types import TracebackType

from paceline.clocks import boottime

LOOK_S = 1.0
"""How often a watchdog looks at the clock: the longest a deadline that passed during suspension goes unnoticed."""


AGAIN_S = 0.05
"""When a watchdog cuts again what is late: a connection made at the very last moment is cut too."""
IDLE_LOOKS = 10
"""How often the thread looks with nothing to look after before it ends."""


class DeadlinePassed(Exception):
    """The exchange's time is over."""


class Deadline:
    """The moment at which something must have ended, `seconds` from now; counts the time a machine is suspended."""

    def __init__(self, seconds: float, clock: Callable[[], float] = boottime) -> None:
        self._clock = clock
        self._at_s = clock() + seconds

    @property
    def left_s(self) -> float:
        """Seconds until then, 0 afterwards."""
        return max(self._at_s - self._clock(), 0.0)

    def check(self) -> None:
        """Raise `DeadlinePassed` if it has passed."""
        if self.left_s == 0.0:
            raise DeadlinePassed


class Wire:
    """A second handle on a connection's socket, to shut it down from another thread.

    A duplicate, because the first one's number may be closed and given to another connection at that very moment.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None

    def attach(self, connected: socket.socket) -> None:
        """Watch over this connection from now on."""
        handle = socket.fromfd(connected.fileno(), connected.family, connected.type)
        self.detach()
        with self._lock:
            self._handle = handle

    def detach(self) -> None:
        """Let go of the connection; it stays open for whoever else holds it."""
        with self._lock:
            if self._handle is not None:
                self._handle.close()
                self._handle = None

    def cut(self) -> None:
        """End the connection in both directions. Safe to call from any thread, at any time."""
        with self._lock, contextlib.suppress(OSError):
            if self._handle is not None:
                self._handle.shutdown(socket.SHUT_RDWR)


class Watchdog:
    """Cuts a wire if the block it guards still runs at the deadline."""

    def __init__(self, wire: Wire, deadline: Deadline) -> None:
        self.wire = wire
        self.deadline = deadline

    def __enter__(self) -> Watchdog:
        _watch.begin(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _watch.end(self)


class _Watch:
    """The thread that looks after all of a process's watchdogs: one for each would cost more than a small request.

    It starts with the first and ends some time after the last.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._dogs: set[Watchdog] = set()
        self._thread: threading.Thread | None = None

    def begin(self, dog: Watchdog) -> None:
        """Look after one more."""
        with self._changed:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="paceline-deadline", daemon=True)
                self._thread.start()  # it raises where there are too many: then nobody would let go of this one
            self._dogs.add(dog)
            if dog.deadline.left_s < LOOK_S:  # else the next look comes in time
                self._changed.notify()

    def end(self, dog: Watchdog) -> None:
        """Let go of one: no cut after this, for its wire may serve the next exchange."""
        with self._changed:
            self._dogs.discard(dog)

    def _run(self) -> None:
        with self._changed:
            idle = 0
            while idle < IDLE_LOOKS:
                self._changed.wait(self._look())
                idle = 0 if self._dogs else idle + 1
            self._thread = None

    def _look(self) -> float:
        """Cut what is late; return the seconds until the next look."""
        wait_s = LOOK_S
        for dog in self._dogs:
            left_s = dog.deadline.left_s
            if left_s == 0.0:
                dog.wire.cut()
                left_s = AGAIN_S
            wait_s = min(wait_s, left_s)
        return wait_s


_watch = _Watch()


def _forget() -> None:
    """Begin anew in a forked process, which has no such thread, and maybe its lock taken for ever."""
    global _watch
    _watch = _Watch()


os.register_at_fork(after_in_child=_forget)
