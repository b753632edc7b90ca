"""What a report says, as values; `as_dict` is what `report --json` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from paceline.model import Rate
from paceline.report.timeline import Timeline
from paceline.times import iso


@dataclass(frozen=True, slots=True)
class Example:
    """A submission that stands for others. `files` are the first of its files, of `total`."""

    submission: str
    run_id: str | None
    run_url: str | None
    files: tuple[str, ...] = ()
    total: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """What ended for one reason. `messages` are what was said, with how often; `more_messages` said something else."""

    reason: str
    outcome: str
    submissions: int
    files: int
    messages: Sequence[tuple[str, int]] = ()
    more_messages: int = 0
    examples: Sequence[Example] = ()


@dataclass(frozen=True, slots=True)
class Slow:
    """A run that took long."""

    submission: str
    seconds: float
    outcome: str
    run_id: str | None
    run_url: str | None


@dataclass(frozen=True, slots=True)
class Durations:
    """How long runs took, from their start to their end. `bins` are (from, to, number), in seconds, equally wide."""

    runs: int
    median_s: float
    p95_s: float
    shortest_s: float
    longest_s: float
    bins: Sequence[tuple[float, float, int]]


@dataclass(frozen=True, slots=True)
class Skipped:
    """Files in no submission for one reason, with the first few names where they are known."""

    reason: str
    files: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Twice:
    """A run beside the one that counts. `credits` is None where nobody told."""

    run_id: str
    submission: str
    credits: float | None


@dataclass(frozen=True, slots=True)
class Way:
    """How a batch was run. `requests_class` is what starts its runs, `rate` its limit; None: not known here."""

    source: str
    account: str
    provider: str
    agent: str
    to: tuple[str, ...]
    files_per_run: int | None = None
    priority: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, str] = field(default_factory=dict)
    requests_class: str = "add"
    rate: Rate | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything on the page. `summary` is that of `summary.json`; `waits` says what an open batch waits for.

    `held` and `duplicates` are the first of them. `unaudited` submissions were given up by the closing audit.
    `from_folder` is the output folder that it was read from, without a ledger; None: it was read from the ledger.
    """

    summary: Mapping[str, Any]
    way: Way
    timeline: Timeline | None
    durations: Durations | None
    failures: Sequence[Failure]
    skipped: Sequence[Skipped]
    slowest: Sequence[Slow]
    duplicates: Sequence[Twice]
    held: Sequence[str]
    made_ms: int
    version: str
    size_bytes: int | None = None
    unaudited: int = 0
    tolerated: bool = False
    waits: str | None = None
    from_folder: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the form that `--json` prints."""
        line, lengths = self.timeline, self.durations
        return {
            "summary": dict(self.summary),
            "made_at": iso(self.made_ms),
            "version": self.version,
            "from_folder": self.from_folder,
            "waits_for": self.waits,
            "bytes": self.size_bytes,
            "unaudited": self.unaudited,
            "tolerated": self.tolerated,
            "way": {
                "source": self.way.source,
                "account": self.way.account,
                "provider": self.way.provider,
                "agent": self.way.agent,
                "to": list(self.way.to),
                "files_per_run": self.way.files_per_run,
                "priority": self.way.priority,
                "options": dict(self.way.options),
                "choices": {name: value for name, value in self.way.choices.items() if value},
                "limit": str(self.way.rate) if self.way.rate else None,
            },
            "timeline": line
            and {
                "start": iso(line.start_ms),
                "interval_seconds": line.interval_s,
                "allowed": line.allowed,
                "started": line.started,
                "refused_429": line.refused,
                "succeeded": line.succeeded,
                "failed": line.failed,
                "cancelled": line.cancelled,
            },
            "durations": lengths
            and {
                "runs": lengths.runs,
                "median_seconds": round(lengths.median_s, 3),
                "p95_seconds": round(lengths.p95_s, 3),
                "shortest_seconds": round(lengths.shortest_s, 3),
                "longest_seconds": round(lengths.longest_s, 3),
                "bins": [{"from": low, "to": high, "runs": runs} for low, high, runs in lengths.bins],
            },
            "failures": [_failure(one) for one in self.failures],
            "skipped": [{"reason": one.reason, "files": one.files, "examples": one.examples} for one in self.skipped],
            "slowest": [
                {"submission": one.submission, "seconds": one.seconds, "outcome": one.outcome, "run_id": one.run_id}
                | {"run_url": one.run_url}
                for one in self.slowest
            ],
            "duplicates": [
                {"run_id": one.run_id, "submission": one.submission, "credits": one.credits} for one in self.duplicates
            ],
            "held": list(self.held),
        }


def _failure(one: Failure) -> dict[str, Any]:
    return {
        "reason": one.reason,
        "outcome": one.outcome,
        "submissions": one.submissions,
        "files": one.files,
        "messages": [{"text": text, "submissions": number} for text, number in one.messages],
        "other_messages": one.more_messages,
        "examples": [
            {"submission": some.submission, "run_id": some.run_id, "run_url": some.run_url}
            | {"files": list(some.files), "files_total": some.total}
            for some in one.examples
        ],
    }
