"""What the ledger has counted for monitoring: events of an account since ever, and how long things took.

The scripts count (`tally`, `observe` in `lua/ledger.lua`) and decide nothing by it. A worker of an older version counts
nothing; so these numbers may be lower than the batches' own, and are never a reason to act.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from paceline.model import Outcome

BOUNDS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 21600.0)
"""Upper bounds of the buckets, in seconds; `lua/ledger.lua` has the same. What is longer is in one more bucket."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long things took: `counts` has a number for each of `BOUNDS_S`, and a last one for what took longer."""

    counts: tuple[int, ...] = (0,) * (len(BOUNDS_S) + 1)
    sum_s: float = 0.0

    @property
    def total(self) -> int:
        """Return how many were counted."""
        return sum(self.counts)

    @property
    def mean_s(self) -> float | None:
        """Return the mean in seconds; None of nothing."""
        return self.sum_s / self.total if self.total else None

    def quantile_s(self, share: float) -> float | None:
        """Return the upper bound of the bucket that the `share` (0 to 1) of them lies in; infinite in the last one."""
        wanted, seen = share * self.total, 0
        for bound, count in zip((*BOUNDS_S, math.inf), self.counts, strict=True):
            seen += count
            if count and seen >= wanted:
                return bound
        return None


@dataclass(frozen=True, slots=True)
class Tallies:
    """What an account's submissions came to since it first had one, batches that are gone included.

    `verbs` are transitions by their verb in the journal; `ended` outcomes, counted again when one is collected or
    retried; `runs` how long runs took from their start to the ledger's knowing their end; `exports` from there to the
    record at every sink.
    """

    verbs: Mapping[str, int] = field(default_factory=dict)
    ended: Mapping[Outcome, int] = field(default_factory=dict)
    credits: float = 0.0
    runs: Lengths = field(default_factory=Lengths)
    exports: Lengths = field(default_factory=Lengths)


def parse_lengths(row: Mapping[str, str], prefix: str) -> Lengths:
    """Read a histogram from the fields of a hash."""
    names = [f"{bound:g}" for bound in BOUNDS_S]
    counts = tuple(int(row.get(f"{prefix}:{name}", 0)) for name in (*names, "inf"))
    return Lengths(counts, int(row.get(f"{prefix}:sum", 0)) / 1000)


def parse_tallies(row: Mapping[str, str]) -> Tallies:
    """Read an account's hash."""
    ended = {Outcome(name): number for name, number in _numbers(row, "t:ended:")}
    return Tallies(
        verbs=dict(_numbers(row, "t:verb:")),
        ended={outcome: ended.get(outcome, 0) for outcome in Outcome},
        credits=float(row.get("t:credits", 0)),
        runs=parse_lengths(row, "t:run_s"),
        exports=parse_lengths(row, "t:export_s"),
    )


def _numbers(row: Mapping[str, str], prefix: str) -> Iterable[tuple[str, int]]:
    return ((name.removeprefix(prefix), int(value)) for name, value in row.items() if name.startswith(prefix))
