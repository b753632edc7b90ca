"""What runs returned, kept for a while by submission id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Results(Protocol):
    """The results backend as the runner sees it: Celery's own in production, a dictionary in simulations."""

    def put(self, submission: str, record: Mapping[str, Any]) -> None:
        """Keep a submission's record (the line of `results.jsonl`) for the backend's TTL, replacing an earlier one."""

    def get(self, submission: str) -> Mapping[str, Any] | None:
        """Return the record, or None if there is none (any more)."""


class MemoryResults:
    """Results in a dictionary: for simulations and tests."""

    def __init__(self) -> None:
        self.records: dict[str, Mapping[str, Any]] = {}

    def put(self, submission: str, record: Mapping[str, Any]) -> None:
        """Keep a record."""
        self.records[submission] = record

    def get(self, submission: str) -> Mapping[str, Any] | None:
        """Return a record, or None."""
        return self.records.get(submission)
