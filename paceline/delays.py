"""How long to wait for what: pure arithmetic, no clock, no randomness but what is passed in."""

from __future__ import annotations

import math

from paceline.model import Rate

FIRST_POLL_S = 1.5
"""Both vendors' advice: wait one to two seconds after the start, then back off to five to ten."""

POLL_LEAST_S = 5.0
"""Between two questions about one run; the vendors say five to ten seconds."""

POLL_GRID_S = POLL_LEAST_S / 2
"""Later polls fall on multiples of half the least time, so that runs started at different moments share a list call."""

_LATE_S = 0.3
"""A poll comes a little after its grid point; without this allowance it would always skip one."""

POLL_LONGEST_S = 60.0

LIST_GAP_S = 0.6

SINGLE_SHARE = 0.8
"""Of the pace for single questions, what following takes. More would keep exports and new batches waiting."""

SWEEP_LONGEST_S = 240.0
"""Within the five minutes after which `lua/take_due.lua` thinks that the clock was set back."""


def next_poll_s(now_s: float, age_s: float, sweep_s: float, *, least_s: float = POLL_LEAST_S) -> float:
    """Return when to ask after a run again, as a time on the same clock as `now_s`.

    `least_s` to half as much more ahead for young runs, a sixtieth of its age for old ones up to 60 s, but not before a
    sweep of all runs in flight at a measured pace has come round, which takes `sweep_s`. The result lies on the grid.
    """
    grid_s = least_s / 2
    wait_s = max(least_s, min(age_s / 60, POLL_LONGEST_S - grid_s), sweep_s)
    return math.ceil((now_s + wait_s - _LATE_S) / grid_s) * grid_s


def list_sweep_s(calls: int) -> float:
    """Return how long a sweep of so many list calls may take: 0.6 s each, so ten thousand runs are swept every 20 s."""
    return min(LIST_GAP_S * calls, POLL_LONGEST_S - POLL_GRID_S)


def single_sweep_s(runs: int, rate: Rate) -> float:
    """Return how long a sweep of so many runs takes, with a question for each; never more than 4 minutes."""
    return min(single_gap_s(rate) * runs, SWEEP_LONGEST_S)


def single_gap_s(rate: Rate) -> float:
    """Return the time between two questions after single runs: four fifths of the pace; the rest is for others."""
    return rate.window_s / rate.limit / SINGLE_SHARE


def tick_s(starts_per_s: float, in_flight: int, *, most_s: float = POLL_LEAST_S) -> float:
    """Return the least time between two list calls: 1 s to `most_s`, or `most_s` where that is less.

    Four starts or more per call keep the cost of following a run at a quarter of a request; a handful of runs in
    flight is followed promptly.
    """
    if in_flight <= 3 or starts_per_s <= 0:
        return min(1.0, most_s)
    return min(max(4 / starts_per_s, 1.0), most_s)


def upload_deadline_s(size_bytes: int, *, base_s: float, bytes_per_s: float) -> float:
    """Return how long one POST may take in all: `base_s` and the time of its bytes at the slowest acceptable pace."""
    return base_s + size_bytes / bytes_per_s


def backoff_s(strikes: int, *, first_s: float = 1.0, longest_s: float = 60.0) -> float:
    """Return 1, 2, 4 … `longest_s` seconds for the first, second, third … strike in a row."""
    return min(first_s * math.ldexp(1.0, min(max(strikes - 1, 0), 30)), longest_s)


def reconcile_times_s(settle_s: float) -> tuple[float, ...]:
    """Return when to list an uncertain submission, in seconds after it became uncertain.

    Early looks find the run; only those at or after `settle_s` can count towards proof of absence.
    """
    early = tuple(at for at in (0.5, 3.0, 10.0, 30.0) if at < settle_s * 0.9)
    return (*early, settle_s, settle_s * 1.25, settle_s * 1.5)
