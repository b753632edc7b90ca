"""What runs returned, kept for a while by submission id."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from paceline.model import Outcome, Submission

PARTIAL = ".partial"
"""Behind a submission's id: what its run had returned when it was to be ended at the provider. Kept apart, because the
run may have ended by itself at that moment, and then its whole result counts."""


LookUp = Callable[[str], Mapping[str, Any] | None]
"""Gives the record of a submission, or None where there is none (any more)."""


class Results(Protocol):
    """The results backend as the runner sees it: Celery's own in production, a dictionary in simulations."""

    def put(self, records: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep records (lines of `results.jsonl`, by submission) for the backend's TTL, replacing earlier ones."""

    def get(self, submission: str) -> Mapping[str, Any] | None:
        """Return the record, or None if there is none (any more)."""

    def some(self, submissions: Sequence[str]) -> LookUp:
        """Fetch records in one round trip; return how to look one up, which unpacks it each time."""


def kept_of(results: Results, items: Sequence[Submission]) -> Callable[[Submission], Mapping[str, Any] | None]:
    """Return how to look up what is kept of one of these submissions' present run: None where there is nothing."""
    record = results.some([name for item in items for name in _names(item)])

    def look_up(item: Submission) -> Mapping[str, Any] | None:
        found = (one for name in _names(item) if (one := record(name)) is not None)
        return next((one for one in found if one["run_id"] == item.run_id), None)  # else it is an earlier attempt's

    return look_up


def _names(item: Submission) -> list[str]:
    return [item.id + PARTIAL, item.id] if _ended_by_us(item) else [item.id]


def _ended_by_us(item: Submission) -> bool:
    return item.outcome is Outcome.CANCELLED and item.reason == "cancelled"


class MemoryResults:
    """Results in a dictionary: for simulations and tests."""

    def __init__(self) -> None:
        self.records: dict[str, Mapping[str, Any]] = {}

    def put(self, records: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep records."""
        self.records.update(records)

    def get(self, submission: str) -> Mapping[str, Any] | None:
        """Return a record, or None."""
        return self.records.get(submission)

    def some(self, submissions: Sequence[str]) -> LookUp:
        """Fetch records."""
        return {name: self.records[name] for name in submissions if name in self.records}.get
