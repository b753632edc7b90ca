"""Let the uploads of a process read their small files in turn, as long as that is quick.

A small file takes five system calls and a digest, and at each of them the interpreter may change hands. Where several
uploads read at the same moment it changes hands all the time: eight of 300 files of 20 kB each took 1.8 times the CPU
that they take in turn, and 1.5 times the time. Files that don't come from memory are another matter: for a disk it is
best to wait together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

QUICK_S = 0.001
"""A chunk of small files takes 0.5 ms from memory; this is 13 files with 40 µs each of waiting for a disk."""
PATIENCE = 5
"""So many turns in a row must have taken longer to mean a disk: other threads make every tenth longer."""
WAIT_S = 0.1
"""How long to wait for one's turn: thirty others are through by then, unless somebody's disk hangs."""
REST_S = 1.0
"""How long everybody then reads without turns."""


class InTurn:
    """The turns of a process. Thread-safe. A matter of speed only: who doesn't get one does the same without."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._slow = 0
        self._rests_until_s = 0.0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Read one chunk in the block."""
        if self._now_s() < self._rests_until_s:
            yield
        elif self._lock.acquire(timeout=WAIT_S):
            begun_s = self._now_s()
            try:
                yield
            finally:
                self._slow = self._slow + 1 if self._now_s() - begun_s > QUICK_S else 0
                if self._slow == PATIENCE:
                    self._rest()
                self._lock.release()
        else:
            self._rest()
            yield

    def _rest(self) -> None:
        self._slow = 0
        self._rests_until_s = self._now_s() + REST_S
