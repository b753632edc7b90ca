"""Keep a destination that fails or hangs from taking all the threads of a process.

Exports share their threads with everything but uploads. Each write to a database that doesn't answer takes a minute, so
without this a few submissions of one batch would keep all others from being looked after. Who is turned away is asked
again a little later, as after a failure.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from paceline.errors import SinkBusy

SLOW_S = 5.0
"""Once a write has taken so long, no other is begun until it ends."""


class Turns:
    """Who may write to which destination of this process. Thread-safe."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._begun: dict[str, list[float]] = {}
        self._failed: set[str] = set()

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        """Do one write in the block. One at a time tries a destination whose last write failed.

        Raises `SinkBusy` where others are at one that fails or is slow.
        """
        with self._lock:
            begun = self._begun.setdefault(place, [])
            now_s = self._now_s()
            if begun and (place in self._failed or now_s - min(begun) >= SLOW_S):
                raise SinkBusy(f"another write to {place} has to end first")
            begun.append(now_s)
        try:
            yield
        except BaseException:
            with self._lock:
                self._failed.add(place)
            raise
        else:
            with self._lock:
                self._failed.discard(place)
        finally:
            with self._lock:
                begun.remove(now_s)
