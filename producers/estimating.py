"""Estimate what a plan will take, as ranges: requests, time, credits. Pure: no clock, no ledger.

Nobody knows beforehand how long runs take, how fast a line is, what a run costs. What earlier batches came to is the
basis where there are any; elsewhere stand the assumptions below, and a range that is honest about them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean, stdev

from paceline.delays import single_gap_s
from paceline.model import EndpointClass, Rate
from paceline.providers.base import Capabilities

SHORTEST_RUN_S, LONGEST_RUN_S = 5.0, 600.0
"""How long a run is taken to last where no earlier one tells."""

TYPICAL_RUN_S = 60.0
"""The same, for counting questions."""

FAST_BYTES_PER_S = 125e6
"""A line of 1 Gbit/s: nothing is taken to be uploaded faster, unless it was."""

CLOSING_S = 10.0
"""At the high end, for starting workers, noticing the last end, and committing the output."""

LOOK_EVERY_S = 5.0
"""Between two looks at all runs in flight: the grid of `paceline.delays`."""


class Bind(StrEnum):
    """What takes the longest."""

    PACE = "pace"  # so many requests may be sent a minute
    UPLOAD = "upload"  # so many bytes go through the line
    RUNS = "runs"  # the length of the runs themselves


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done; `most_files` are those of the largest submission."""

    submissions: int
    files: int
    size_bytes: int
    most_files: int = 1


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast runs may be started.

    `window_s` is the limiter's where answers come at once, a little longer than the rate's. `learned` is the lower
    limit that refusals taught, `closed_s` the time until the first request may go, `ahead` the number of other
    batches' submissions that wait on the account. Where calls wait up to `wait_s` for their run's end (0: they don't),
    `slots` can do so at once.
    """

    rate: Rate
    window_s: float
    learned: int | None = None
    closed_s: float = 0.0
    ahead: int = 0
    wait_s: float = 0.0
    slots: int = 8

    @property
    def lowest_limit(self) -> int:
        """Return the limit that is sure to hold: what was learned, if anything was."""
        return max(min(self.learned or self.rate.limit, self.rate.limit), 1)


@dataclass(frozen=True, slots=True)
class RunSeen:
    """A run of an earlier batch. `seconds` and `credits` are None where nobody knows."""

    files: int
    seconds: float | None = None
    credits: float | None = None


@dataclass(frozen=True, slots=True)
class Experience:
    """What earlier batches came to. `bytes_per_s` is the most that one of them sent, over its whole time."""

    batches: int = 0
    runs: tuple[RunSeen, ...] = ()
    bytes_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class RunLength:
    """How long a run takes at least and at most, in seconds; `runs` were seen, 0: it is an assumption."""

    shortest_s: float = SHORTEST_RUN_S
    longest_s: float = LONGEST_RUN_S
    typical_s: float = TYPICAL_RUN_S
    runs: int = 0


@dataclass(frozen=True, slots=True)
class Side:
    """One end of an estimate: seconds until all is sent by each bound alone, the length of a run, all in all."""

    pace_s: float
    upload_s: float
    busy_s: float
    run_s: float
    extra_s: float

    @property
    def seconds(self) -> float:
        """From the start to the last record."""
        return max(self.pace_s, self.upload_s, self.busy_s) + self.run_s + self.extra_s

    @property
    def binds(self) -> Bind:
        """What takes the longest."""
        spans = {Bind.PACE: self.pace_s, Bind.UPLOAD: self.upload_s, Bind.RUNS: self.busy_s + self.run_s}
        return max(spans, key=lambda bind: spans[bind])


@dataclass(frozen=True, slots=True)
class Span:
    """How long a plan takes: at the least, and at the most that is to be expected."""

    lowest: Side
    highest: Side


@dataclass(frozen=True, slots=True)
class Credits:
    """What a plan is expected to cost. `mean` and `spread` (standard deviation) are per run or per file, as `per` says.

    `spread`, `lowest` and `highest` are None where a single run is all there is to go by.
    """

    expected: float
    lowest: float | None
    highest: float | None
    per: str
    mean: float
    spread: float | None
    runs: int
    batches: int


def least_seconds(submissions: int, rate: Rate, window_s: float) -> float:
    """Return the least time from the first request to the last: a sliding window lets `limit` go in each `window_s`."""
    return max(submissions - 1, 0) // rate.limit * window_s


def run_length(seen: Experience, most_files: int) -> RunLength:
    """Return what earlier runs took: the shortest, the median, and the 99th percentile.

    The last of these grows with the files in a run, where there will be more than any run had.
    """
    timed = [run for run in seen.runs if run.seconds is not None]
    if not timed:
        return RunLength()
    lengths = sorted(run.seconds or 0.0 for run in timed)
    growth = max(most_files / max(max(run.files for run in timed), 1), 1.0)
    longest_s = lengths[math.ceil(0.99 * len(lengths)) - 1]
    return RunLength(lengths[0], longest_s * growth, lengths[len(lengths) // 2], len(lengths))


def time_needed(work: Work, pace: Pace, run: RunLength, slow_bytes_per_s: float, seen: float | None = None) -> Span:
    """Return how long it takes to send everything and to see the last run end.

    Sending is bound by the pace, by the line, and, where calls wait for their runs, by the runs: the slowest of the
    three counts. `slow_bytes_per_s` is the least that the line is taken to carry, `seen` the most that it did.
    """
    if not work.submissions:
        nothing = Side(0.0, 0.0, 0.0, 0.0, 0.0)
        return Span(nothing, nothing)
    learned = Rate(pace.lowest_limit, pace.rate.window_s)
    fast, slow = max(FAST_BYTES_PER_S, seen or 0.0), max(slow_bytes_per_s, seen or 0.0)
    lowest = Side(
        least_seconds(work.submissions, pace.rate, pace.window_s),
        work.size_bytes / fast,
        _busy_s(work, pace, run.shortest_s),
        run.shortest_s,
        pace.closed_s,
    )
    highest = Side(
        least_seconds(work.submissions + pace.ahead, learned, pace.window_s),
        work.size_bytes / slow,
        _busy_s(work, pace, run.longest_s),
        max(run.longest_s, run.shortest_s),
        pace.closed_s + CLOSING_S,
    )
    return Span(lowest, highest)


def _busy_s(work: Work, pace: Pace, run_s: float) -> float:
    """Return how long calls that wait keep later ones from being made."""
    return (math.ceil(work.submissions / pace.slots) - 1) * min(run_s, pace.wait_s)


def status_requests(submissions: int, can: Capabilities, add: Rate, get: Rate, seconds: float, run_s: float) -> int:
    """Estimate what following costs: every few seconds as many requests as a sweep of the runs in flight takes."""
    most = can.asks_after_many
    in_flight = min(submissions, math.ceil(add.limit * run_s / add.window_s))
    calls = math.ceil(in_flight / max(most, 1))
    every_s = LOOK_EVERY_S if most else max(LOOK_EVERY_S, calls * single_gap_s(get))
    return math.ceil((seconds + run_s) / every_s) * calls


def requests_needed(
    submissions: int, can: Capabilities, start: EndpointClass, add: Rate, get: Rate, seconds: float, run_s: float
) -> dict[EndpointClass, int]:
    """Estimate the requests by class: starts are exact, one looks at the agent, the others follow and audit.

    The closing audit lists every submission by its external id, where the provider can.
    """
    follow = status_requests(submissions, can, add, get, seconds, run_s) if start is EndpointClass.ADD else 0
    audit = math.ceil(submissions / can.finds_many) if can.finds_many else 0
    lists = (follow if can.asks_after_many else 0) + audit
    gets = 1 + (0 if can.asks_after_many else follow)
    return {start: submissions, EndpointClass.LIST: lists, EndpointClass.GET: gets}


def credits_needed(work: Work, seen: Experience) -> Credits | None:
    """Estimate the credits, None where no earlier run tells.

    Per run or per file, whichever varied less among the runs seen; where both varied alike, per run. The range is
    twice the standard error of the sum: N units of spread s, and a mean known from n of them, √(N·s² + N²·s²/n).
    """
    priced = [(run.files, run.credits) for run in seen.runs if run.credits is not None]
    if not priced or not work.submissions:
        return None
    per_run = [credits for _, credits in priced]
    per_file = [credits / max(files, 1) for files, credits in priced]
    by_file = _variation(per_file) < _variation(per_run) - 1e-9
    values, units = (per_file, work.files) if by_file else (per_run, work.submissions)
    mean = sum(per_run) / max(sum(files for files, _ in priced), 1) if by_file else fmean(values)
    expected = mean * units
    spread = stdev(values) if len(values) > 1 else None
    lowest = highest = None
    if spread is not None:
        error = 2 * math.sqrt(units * spread**2 + units**2 * spread**2 / len(values))
        lowest, highest = max(expected - error, 0.0), expected + error
        if not by_file and _alike(priced) and (other := fmean(per_file) * work.files) != expected:
            # All runs seen had as many files: whether fewer files cost less, they can't tell.
            lowest, highest = min(lowest, other), max(highest, other)
    return Credits(
        expected, lowest, highest, "file" if by_file else "run", mean, spread, len(priced), max(seen.batches, 1)
    )


def _variation(values: Sequence[float]) -> float:
    mean = fmean(values)
    return stdev(values) / mean if len(values) > 1 and mean > 0 else 0.0


def _alike(priced: Iterable[tuple[int, float]]) -> bool:
    return len({files for files, _ in priced}) == 1
