"""Bounds one exchange as a whole, whichever system call it is blocked in.

A timeout per system call isn't enough: a peer that takes or gives one byte a second never runs into it. So a thread
waits beside every exchange and, when its time is over, shuts the socket down under it; the blocked call returns at
once with an error.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType

from paceline.clocks import boottime

LOOK_S = 1.0
"""How often a watchdog looks at the clock: the longest a deadline that passed during suspension goes unnoticed."""


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
        self._wire = wire
        self._deadline = deadline
        self._over = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> Watchdog:
        threading.Thread(target=self._watch, name="paceline-deadline", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:  # no cut after this: the wire may serve the next exchange
            self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(min(self._deadline.left_s, LOOK_S)):
            with self._lock:
                if self._deadline.left_s == 0.0 and not self._over.is_set():
                    self._wire.cut()
            if self._deadline.left_s == 0.0:
                # A connection made at the very last moment is cut too, until the block notices and ends.
                self._over.wait(0.05)
