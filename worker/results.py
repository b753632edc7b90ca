"""Keeps what runs returned in Celery's results backend, under the submission's id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from celery import Celery

from paceline.results import LookUp

_SUCCESS = "SUCCESS"


class CeleryResults:
    """`AsyncResult(submission_id).get()` returns the record, for every Celery client on the same backend.

    The state is SUCCESS for failed runs too: the record is what was asked for, and it says how the run ended.
    """

    def __init__(self, app: Celery) -> None:
        self._backend: Any = app.backend

    def put(self, records: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep records for `result_expires` seconds, compressed, in one round trip.

        Celery's own `store_result` stores one at a time and asks first whether there is one: three round trips each.
        What is stored is the same: the meta that Celery reads, and a message to whoever waits in `get()`.
        """
        with self._backend.client.pipeline(transaction=False) as pipe:
            for submission, record in records.items():
                key = self._backend.get_key_for_task(submission)
                value = self._backend.encode(_meta(submission, record))
                pipe.setex(key, self._backend.expires, value)
                pipe.publish(key, value)
            pipe.execute()

    def key(self, submission: str) -> str | bytes:
        """Name the key in Redis that holds a submission's record."""
        found: str | bytes = self._backend.get_key_for_task(submission)
        return found

    def get(self, submission: str) -> Mapping[str, Any] | None:
        """Return a record, or None."""
        return self.some([submission])(submission)

    def some(self, submissions: Sequence[str]) -> LookUp:
        """Fetch records in one round trip; unpacked, all of them would be many times as large."""
        names = [self._backend.get_key_for_task(name) for name in submissions]
        stored = dict(zip(submissions, self._backend.client.mget(names) if names else (), strict=True))

        def look_up(submission: str) -> Mapping[str, Any] | None:
            text = stored.get(submission)
            meta = self._backend.decode(text) if text else {}
            return meta["result"] if meta.get("status") == _SUCCESS else None

        return look_up


def _meta(submission: str, record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "status": _SUCCESS,
        "result": dict(record),
        "traceback": None,
        "children": [],
        "date_done": datetime.now(UTC).isoformat(),
        "task_id": submission,
    }
