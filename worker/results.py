"""Keeps what runs returned in Celery's results backend, under the submission's id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery import Celery

_SUCCESS = "SUCCESS"


class CeleryResults:
    """`AsyncResult(submission_id).get()` returns the record, for every Celery client on the same backend.

    The state is SUCCESS for failed runs too: the record is what was asked for, and it says how the run ended.
    """

    def __init__(self, app: Celery) -> None:
        self._backend: Any = app.backend

    def put(self, submission: str, record: Mapping[str, Any]) -> None:
        """Keep a record for `result_expires` seconds, compressed."""
        self._backend.store_result(submission, dict(record), _SUCCESS)

    def get(self, submission: str) -> Mapping[str, Any] | None:
        """Return a record, or None."""
        meta = self._backend.get_task_meta(submission, cache=False)
        return meta["result"] if meta.get("status") == _SUCCESS else None
