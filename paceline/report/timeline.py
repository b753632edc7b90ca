"""When a batch's runs started and how they ended, counted in equal intervals.

The intervals are whole windows of the account's limit. So what was allowed in one is a plain number, and no bar of a
batch that kept the limit stands above it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from paceline import redis_keys as keys
from paceline.model import Outcome, Rate
from paceline.scripts import Scripts

MOST = 60
"""Intervals, at most: more bars than that are a wall."""

_TIMES = (1, 2, 5, 10, 15, 30, 60, 120, 240, 360, 720, 1440)
_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)

_PIECE = 2000
"""Journal entries per call: a few milliseconds of the server's time."""


@dataclass(slots=True)
class Timeline:
    """Counts by interval. `allowed` is how many requests the account's limit lets through in one; None: not known.

    `started` are runs, `refused` are requests that were answered with 429; the others are ends by outcome.
    """

    start_ms: int
    interval_s: float
    allowed: float | None
    started: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    succeeded: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)

    def ended(self) -> list[list[int]]:
        """Return the ends: succeeded, failed, cancelled."""
        return [self.succeeded, self.failed, self.cancelled]


def interval_for(span_s: float, rate: Rate | None) -> float:
    """Return the shortest fitting interval, in seconds, that divides a span into `MOST` at most."""
    choices = [rate.window_s * times for times in _TIMES] if rate else [float(seconds) for seconds in _SECONDS]
    wide = next((one for one in choices if span_s <= one * MOST), choices[-1])
    while span_s > wide * MOST:
        wide *= 2
    return wide


def empty_timeline(start_ms: int, end_ms: int, rate: Rate | None) -> Timeline:
    """Return a timeline with nothing in it yet, long enough for a span."""
    wide = interval_for(max(end_ms - start_ms, 0) / 1000, rate)
    count = min(int((end_ms - start_ms) / 1000 // wide) + 1, MOST) if end_ms >= start_ms else 1
    allowed = rate.limit * wide / rate.window_s if rate else None
    return Timeline(start_ms, wide, allowed, *([0] * count for _ in range(5)))


def read_journal(redis: Any, scripts: Scripts, batch: str, line: Timeline) -> None:
    """Count a whole journal into a timeline, however long it is. What lies outside of it is left out."""
    series = {
        "accepted": line.started,
        "adopt": line.started,
        "put_back:throttled": line.refused,
        **{f"finish:{outcome}": ends for outcome, ends in _ends(line)},
        **{f"{verb}:{outcome}": ends for verb in ("reject", "give_up", "cancel") for outcome, ends in _ends(line)},
    }
    for place, word, number in _counts(scripts, batch, line.start_ms, round(line.interval_s * 1000)):
        counts = series.get(word)
        if counts is not None and 0 <= place < len(counts):
            counts[place] += number


def _ends(line: Timeline) -> Iterable[tuple[Outcome, list[int]]]:
    return zip((Outcome.SUCCEEDED, Outcome.FAILED, Outcome.CANCELLED), line.ended(), strict=True)


def _counts(scripts: Scripts, batch: str, start_ms: int, wide_ms: int) -> Iterator[tuple[int, str, int]]:
    begin = "-"
    while True:
        last, *found = scripts.run("journal_counts", [keys.journal(batch)], [begin, _PIECE, start_ms, wide_ms])
        if not last:
            return
        for place, word, number in zip(found[::3], found[1::3], found[2::3], strict=True):
            yield int(place), word.decode(), int(number)
        begin = "(" + last.decode()


class ByItem:
    """The same from what the submissions say of themselves: only each one's last run. For want of a journal."""

    def __init__(self, line: Timeline) -> None:
        self._line = line
        self.starts: Counter[int] = Counter()
        self.ends: dict[str, Counter[int]] = {outcome.value: Counter() for outcome, _ in _ends(line)}

    def add(self, started_ms: int | None, finished_ms: int | None, outcome: str | None) -> None:
        """Count one."""
        if started_ms is not None:
            self.starts[self._place(started_ms)] += 1
        if finished_ms is not None and outcome in self.ends:
            self.ends[outcome][self._place(finished_ms)] += 1

    def fill_in(self) -> None:
        """Take these counts for the timeline where the journal knows of fewer."""
        line = self._line
        if sum(line.started) < self.starts.total():
            line.started[:] = [self.starts[at] for at in range(len(line.started))]
        if sum(map(sum, line.ended())) < sum(ends.total() for ends in self.ends.values()):
            for counts, ends in zip(line.ended(), self.ends.values(), strict=True):
                counts[:] = [ends[at] for at in range(len(counts))]

    def _place(self, ms: int) -> int:
        at = int((ms - self._line.start_ms) / 1000 // self._line.interval_s)
        return min(max(at, 0), len(self._line.started) - 1)
