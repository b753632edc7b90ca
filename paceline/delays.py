"""How long to wait for what: pure arithmetic, no clock, no randomness but what is passed in."""

from __future__ import annotations

import math

from paceline.model import Rate

FIRST_POLL_S = 1.5
"""Both vendors' advice: wait one to two seconds after the start, then back off to five to ten."""

POLL_LEAST_S = 5.0
"""Between two questions about one run; the vendors say five to ten seconds."""

POLL_LONGEST_S = 60.0

AGE_SHARE = 120
"""Of a run's age, what a later question may come late. Where each run costs a question of its own, twice as much."""

LIST_SHARE = 0.15
"""Of the least time, what a sweep takes per list call: 0.75 s, so 80 calls a minute however many runs are in flight.

Ten thousand runs that last 1 to 10 minutes then cost under a tenth of a call each; up to two thousand runs are swept
every 5 s, which no run may be asked after more often.
"""

SINGLE_SHARE = 0.8
"""Of the pace for single questions, what following takes. More would keep exports and new batches waiting."""

SWEEP_LONGEST_S = 240.0
"""Within the five minutes after which `lua/take_due.lua` thinks that the clock was set back."""


_ROUNDED_S = 0.002
"""Due times are kept in milliseconds; rounded up, one would lie after its point of the grid."""


def next_poll_s(
    now_s: float,
    age_s: float,
    sweep_s: float,
    *,
    late_s: float = 0.0,
    least_s: float = POLL_LEAST_S,
    together: bool = True,
) -> float:
    """Return when to ask after a run again, as a time on the same clock as `now_s`.

    `least_s` ahead or up to twice that for young runs, a share of its age for old ones up to 60 s, but not before a
    sweep of all runs in flight has come round, which takes `sweep_s`. `together`: many runs share a call.

    The result is a multiple of `least_s`, so that runs started at different moments come to share their calls, or of
    half of it: the second question after a run shouldn't wait for ten seconds, nor times between five and ten become
    ten. Questions about single runs have nothing to share.

    It counts from when the run was due, `late_s` ago: the last of several calls is always late, and would miss every
    other turn. That may shorten one time between two questions by half of `least_s` (where runs share no call, by a
    sixteenth, lest the pace be passed), never their mean.
    """
    wait_s = max(
        least_s, min(age_s / (AGE_SHARE if together else AGE_SHARE / 2), POLL_LONGEST_S - least_s / 2), sweep_s
    )
    grid_s = least_s if together and age_s >= least_s >= wait_s else least_s / 2
    due_s = now_s - min(late_s, least_s / (2 if together else 16))
    return math.ceil((due_s + wait_s - _ROUNDED_S) / grid_s) * grid_s


def slack_s(least_s: float) -> float:
    """Return how long before its due time a run is taken along in a call that is made anyway."""
    return least_s / 10


def list_sweep_s(calls: int, rate: Rate, *, least_s: float = POLL_LEAST_S) -> float:
    """Return how long a sweep of so many list calls may take: 0.75 s each, so ten thousand runs are swept every 26 s.

    More where that would take over four fifths of the pace; and in all at most a minute, less half the least time.
    """
    return min(max(LIST_SHARE * least_s, single_gap_s(rate)) * calls, POLL_LONGEST_S - least_s / 2)


def single_sweep_s(runs: int, rate: Rate) -> float:
    """Return how long a sweep of so many runs takes, with a question for each; never more than 4 minutes."""
    return min(single_gap_s(rate) * runs, SWEEP_LONGEST_S)


def single_gap_s(rate: Rate) -> float:
    """Return the time between two questions after single runs: four fifths of the pace; the rest is for others."""
    return rate.window_s / rate.limit / SINGLE_SHARE


def tick_s(starts_per_s: float, in_flight: int, *, most_s: float = POLL_LEAST_S) -> float:
    """Return the least time between two list calls that aren't full: `most_s`, down to a fifth of it (1 s).

    Four starts or more per call keep the cost of following a run at a quarter of a request; a handful of runs in
    flight is followed promptly.
    """
    if in_flight <= 3 or starts_per_s <= 0:
        return most_s / 5
    return min(max(4 / starts_per_s, most_s / 5), most_s)


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
