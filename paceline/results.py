"""What runs returned, kept for a while by submission id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from paceline.model import Outcome, Submission

PARTIAL = ".partial"
"""Behind a submission's id: what its run had returned when it was to be ended at the provider. Kept apart, because the
run may have ended by itself at that moment, and then its whole result counts."""


class Results(Protocol):
    """The results backend as the runner sees it: Celery's own in production, a dictionary in simulations."""

    def put(self, records: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep records (lines of `results.jsonl`, by submission) for the backend's TTL, replacing earlier ones."""

    def get(self, submission: str) -> Mapping[str, Any] | None:
        """Return the record, or None if there is none (any more)."""

    def some(self, submissions: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """Return the records that there are, in one round trip."""


def kept_of(results: Results, items: Sequence[Submission]) -> Mapping[str, Mapping[str, Any]]:
    """Return what is kept of submissions' present runs, by submission; those of which there is nothing are left out."""
    names = {item.id: [item.id + PARTIAL, item.id] if _ended_by_us(item) else [item.id] for item in items}
    records = results.some([name for some in names.values() for name in some])
    kept = {}
    for item in items:
        found = (records[name] for name in names[item.id] if name in records)
        record = next((one for one in found if one["run_id"] == item.run_id), None)  # else it is an earlier attempt's
        if record is not None:
            kept[item.id] = record
    return kept


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

    def some(self, submissions: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """Return records."""
        return {name: self.records[name] for name in submissions if name in self.records}
