"""Take in submissions one by one and keep what a report needs of them, however many there are.

What grows with their number is four bytes for each run's duration.
"""

from __future__ import annotations

import heapq
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from paceline.charts import scale
from paceline.model import Outcome
from paceline.report.numbers import Durations, Example, Failure, Slow

SLOWEST, EXAMPLES, MESSAGES_SHOWN, FILES_SHOWN = 10, 3, 5, 3

_MESSAGES_KEPT = 200
"""Different texts for one reason; a provider that puts an id into each mustn't fill the memory."""

_MESSAGE_CHARACTERS = 300
_BINS = 24


@dataclass(frozen=True, slots=True)
class Item:
    """What a report wants to know of a submission. `files` are the names of the first ones, where they are at hand."""

    submission: str
    outcome: str | None
    reason: str | None
    files_total: int
    started_ms: int | None = None
    finished_ms: int | None = None
    run_id: str | None = None
    run_url: str | None = None
    message: str | None = None
    files: tuple[str, ...] = ()


@dataclass
class _Kind:
    """What ended for one reason."""

    outcome: str
    submissions: int = 0
    files: int = 0
    messages: Counter[str] = field(default_factory=Counter)
    others: int = 0
    examples: list[Example] = field(default_factory=list)

    def add(self, item: Item) -> None:
        self.submissions += 1
        self.files += item.files_total
        if text := item.message:
            text = text if len(text) <= _MESSAGE_CHARACTERS else text[:_MESSAGE_CHARACTERS] + "…"
            if text in self.messages or len(self.messages) < _MESSAGES_KEPT:
                self.messages[text] += 1
            else:
                self.others += 1
        if len(self.examples) < EXAMPLES:
            some = Example(item.submission, item.run_id, item.run_url, item.files[:FILES_SHOWN], item.files_total)
            self.examples.append(some)

    def failure(self, reason: str) -> Failure:
        shown = self.messages.most_common(MESSAGES_SHOWN)
        others = self.others + self.messages.total() - sum(number for _, number in shown)
        return Failure(reason, self.outcome, self.submissions, self.files, shown, others, self.examples)


class Collector:
    """Takes submissions in; `failures`, `durations` and `slowest` are what they come to."""

    def __init__(self) -> None:
        self._kinds: dict[str, _Kind] = {}
        self._seconds = array("f")
        self._slowest: list[tuple[float, str, Slow]] = []

    def add(self, item: Item) -> None:
        """Take one in."""
        if item.outcome is None:
            return
        if item.outcome != Outcome.SUCCEEDED:
            self._kinds.setdefault(item.reason or "unknown", _Kind(item.outcome)).add(item)
        if item.run_id is None or item.started_ms is None or item.finished_ms is None:
            return
        seconds = max(item.finished_ms - item.started_ms, 0) / 1000
        self._seconds.append(seconds)
        if len(self._slowest) < SLOWEST or seconds > self._slowest[0][0]:
            slow = Slow(item.submission, seconds, item.outcome, item.run_id, item.run_url)
            keep = heapq.heappush if len(self._slowest) < SLOWEST else heapq.heappushpop
            keep(self._slowest, (seconds, item.submission, slow))

    def failures(self) -> list[Failure]:
        """Return what didn't succeed by reason, the most frequent first."""
        kinds = sorted(self._kinds.items(), key=lambda pair: (-pair[1].submissions, pair[0]))
        return [kind.failure(reason) for reason, kind in kinds]

    def slowest(self) -> list[Slow]:
        """Return the runs that took longest, the longest first."""
        return [slow for _, _, slow in sorted(self._slowest, key=lambda row: (-row[0], row[1]))]

    def durations(self) -> Durations | None:
        """Return how long runs took; None where none has ended."""
        return measure(self._seconds) if self._seconds else None


def measure(seconds: Iterable[float]) -> Durations:
    """Describe durations, at least one. Where some are far longer than 99 % of them, the last bin holds those."""
    rows = sorted(seconds)
    end, step = scale(max(_share(rows, 0.99) * 1.02, 0.01))
    wide = next((step / parts for parts in (10, 5, 4, 2) if end / step * parts <= _BINS), step)
    if rows[-1] <= end * 1.5:
        end = wide * (int(rows[-1] / wide) + 1)
    count = max(round(end / wide), 1)
    counts = [0] * count
    for one in rows:
        counts[min(int(one / wide), count - 1)] += 1
    first = next(at for at, number in enumerate(counts) if number)
    start = first if first * 2 > count else 0  # all of them far from zero: leave the empty half out
    bins = [(round(at * wide, 6), round((at + 1) * wide, 6), counts[at]) for at in range(start, count)]
    if rows[-1] > bins[-1][1]:
        bins[-1] = (bins[-1][0], rows[-1], bins[-1][2])
    return Durations(len(rows), _share(rows, 0.5), _share(rows, 0.95), rows[0], rows[-1], bins)


def _share(rows: list[float], share: float) -> float:
    """Return the value that so many don't exceed: one of them, not a mean of two."""
    return rows[min(int(share * len(rows)), len(rows) - 1)]


def with_files(failures: Iterable[Failure], names: dict[str, tuple[str, ...]]) -> list[Failure]:
    """Put the names of files into examples that came without."""
    return [
        replace(
            one,
            examples=[
                some if some.files else replace(some, files=names.get(some.submission, ())[:FILES_SHOWN])
                for some in one.examples
            ],
        )
        for one in failures
    ]
