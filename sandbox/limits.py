"""Strict sliding-window rate limits, one window per key and endpoint class.

A request let through at time t uses a place until just before t + window, so that in no half-open [t, t + window) more
than ``count`` requests are let through.
"""

from __future__ import annotations

import math
import re
from array import array
from bisect import bisect_right, insort
from collections.abc import Mapping
from dataclasses import dataclass

REQUEST_CLASSES = ("add", "wait", "get", "list", "delete", "other")

_SPEC = re.compile(r"\s*(\d+)\s*/\s*(\d+(?:\.\d+)?)?\s*(s|m|h)?\s*")
_UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``count`` requests in any ``window_s`` seconds."""

    count: int
    window_s: float

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read ``"600/60s"``, ``"40/2s"``, ``"10/m"``; raise ValueError for anything else."""
        match = _SPEC.fullmatch(text)
        if match is None or (match[2] is None and match[3] is None):
            raise ValueError(f"{text!r} is not a limit like 600/60s")
        limit = cls(int(match[1]), float(match[2] or 1) * _UNIT_S[match[3] or "s"])
        if limit.window_s <= 0:
            raise ValueError(f"{text!r}: the window must be longer than nothing")
        return limit

    def __str__(self) -> str:
        return f"{self.count}/{self.window_s:g}s"


def known_class(name: str) -> str:
    """Give the name back if it is an endpoint class; raise ValueError if not."""
    if name not in REQUEST_CLASSES:
        raise ValueError(f"there is no endpoint class {name!r}, only {', '.join(REQUEST_CLASSES)}")
    return name


class Limiter:
    """Decides which requests are refused, and remembers what it let through."""

    def __init__(self, limits: Mapping[str, Limit], *, refused_count: bool) -> None:
        self.refused_count = refused_count
        self._limits = dict(limits)
        self._taken: dict[tuple[str, str], list[float]] = {}

    @property
    def limits(self) -> Mapping[str, Limit]:
        """Give the limits by class; a class that isn't there is unlimited."""
        return self._limits

    def set(self, request_class: str, limit: Limit | None) -> None:
        """Replace one class's limit (None: unlimited) and forget what its windows hold; raise ValueError if unknown."""
        known_class(request_class)
        if limit is None:
            self._limits.pop(request_class, None)
        else:
            self._limits[request_class] = limit
        for place in [place for place in self._taken if place[1] == request_class]:
            del self._taken[place]

    def clear(self) -> None:
        """Forget every window's content; limits stay."""
        self._taken.clear()

    def admit(self, key: str, request_class: str, now_s: float) -> float | None:
        """Take a place for a request that arrived at ``now_s``; return None, or the seconds until one is free.

        Of two that lay in the kernel the later one may be judged first; no window has more than its limit all the same.
        """
        limit = self._limits.get(request_class)
        if limit is None:
            return None
        taken = self._taken.setdefault((key, request_class), [])
        newest_s = max([*taken[-1:], now_s])
        del taken[: bisect_right(taken, newest_s - 2 * limit.window_s)]
        near = [time_s for time_s in taken if abs(now_s - time_s) < limit.window_s]
        with_it = array("d", sorted([*near, now_s]))
        if busiest_window(with_it, limit.window_s) <= limit.count:
            insort(taken, now_s)
            return None
        wait_s = limit.window_s if limit.count == 0 else near[-limit.count] + limit.window_s - now_s
        if self.refused_count:
            insort(taken, now_s)
        return max(wait_s, 0.0)


def busiest_window(times_s: array[float], window_s: float) -> int:
    """Count the most arrivals in any half-open ``[t, t + window_s)``; ``times_s`` ascend."""
    most = 0
    first = 0
    for last, time_s in enumerate(times_s):
        while time_s - times_s[first] >= window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


def whole_seconds(wait_s: float) -> int:
    """Round a waiting time up to what a Retry-After header can say, at least 1."""
    return max(1, math.ceil(wait_s))
