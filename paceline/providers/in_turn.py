"""Let the uploads of a process read their small files in turn, as long as that is quick.

A small file takes five system calls, at each of which the interpreter may change hands. Where several uploads read at
the same moment it changes hands all the time: see "four at once" in `benchmarks/RESULTS.md`. Files that don't come from
memory are another matter: for a disk it is best to wait together, and nobody should wait for somebody else's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

QUICK_FILE_S = 80e-6
"""From memory a file of 20 kB is read and hashed in less than half of that; a disk takes longer."""
LATE_S = 0.03
"""How much longer turns may be in all, less what quick ones make up for, before that means a disk."""
WAIT_S = 0.1
"""How long to wait for one's turn. Who has it that long is at a disk that hangs, or a hundred others were first."""
REST_S = 1.0
"""For how long nobody queues for turns then. In each of these a disk may cost others `LATE_S` and a turn."""


class InTurn:
    """The turns of a process. Thread-safe. A matter of speed only: who doesn't get one does the same without."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._late_s = 0.0
        self._rests_until_s = 0.0

    @contextmanager
    def turn(self, files: float) -> Iterator[None]:
        """Read and hash about so many files in the block."""
        if self._now_s() < self._rests_until_s:
            yield
        elif self._lock.acquire(timeout=WAIT_S):
            begun_s = self._now_s()
            try:
                yield
            finally:
                took_s = self._now_s() - begun_s
                self._late_s = max(self._late_s + took_s - files * QUICK_FILE_S, 0.0)
                if self._late_s > LATE_S:
                    self._rest()
                self._lock.release()
        else:
            self._rest()
            yield

    def _rest(self) -> None:
        self._late_s = 0.0
        self._rests_until_s = self._now_s() + REST_S
