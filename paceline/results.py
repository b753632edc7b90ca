"""What runs returned, kept for a while by submission id."""

from __future__ import annotations

from collections.abc import Mapping
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


def kept_of(results: Results, item: Submission) -> Mapping[str, Any] | None:
    """Return what is kept of a submission's present run, None where there is nothing (any more)."""
    ended_by_us = item.outcome is Outcome.CANCELLED and item.reason == "cancelled"
    for name in (item.id + PARTIAL, item.id) if ended_by_us else (item.id,):
        record = results.get(name)
        if record is not None and record["run_id"] == item.run_id:  # else it is an earlier attempt's
            return record
    return None


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
