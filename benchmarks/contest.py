"""What a limit allows, and what the sandbox's own log says that somebody made of it."""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection
from dataclasses import dataclass

from paceline.limiter import PacePolicy
from paceline.model import Rate
from sandbox.arrivals import fingerprint
from sandbox.limits import busiest_window
from tests.support.sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class Case:
    """A limit, and the number of one-file submissions that are sent under it."""

    limit: int
    window_s: int
    submissions: int

    @property
    def rate(self) -> str:
        """The limit as settings and sandbox write it."""
        return f"{self.limit}/{self.window_s}s"

    @property
    def least_s(self) -> float:
        """From first to last arrival of the best schedule: a burst of the whole limit at the start of each window."""
        return self.window_s * (math.ceil(self.submissions / self.limit) - 1)

    @property
    def floor(self) -> float:
        """Makespan ÷ least of a fleet that loses no time and keeps the limiter's margin; answers come at once."""
        return PacePolicy().least_window_s(Rate(self.limit, float(self.window_s))) / self.window_s


@dataclass(frozen=True, slots=True)
class Seen:
    """What the sandbox saw of one key, from its first request to the last that was accepted.

    `accepted` counts submissions with a run, `twice` the runs beyond the first of each. `burst_s` is the time from the
    first to the last request of the last window.
    """

    makespan_s: float
    burst_s: float
    busiest: int
    requests: int
    refused: int
    accepted: int
    twice: int


def seen(sandbox: Sandbox, key: str, case: Case, *, but: Collection[str] = ()) -> Seen:
    """Read a contestant's part of the sandbox's log. The makespan leaves out the submissions of those external ids."""
    name = fingerprint(key)
    entries = [entry for entry in sandbox.log(request_class="add", files=False) if entry["key"] == name]
    times = array("d", sorted(entry["t"] for entry in entries))
    accepted = [entry for entry in entries if entry["run_id"] is not None]
    unique = {entry["external_id"] for entry in accepted}
    last = (case.submissions - 1) % case.limit + 1
    return Seen(
        burst_s=times[-1] - times[-min(last, len(times))],
        makespan_s=max((entry["t"] for entry in accepted if entry["external_id"] not in but), default=math.nan)
        - times[0],
        busiest=busiest_window(times, case.window_s),
        requests=len(entries),
        refused=sum(entry["status"] == 429 for entry in entries),
        accepted=len(unique),
        twice=len(accepted) - len(unique),
    )
