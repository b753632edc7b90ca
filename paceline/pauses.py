"""Who has paused what, when and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from redis import Redis

from paceline import redis_keys as keys
from paceline.times import iso
from paceline.views import BatchView

_FIELDS = ("paused", "paused_message", "paused_ms", "paused_by")


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause of a batch or of its account (`what`); `reason` is a word, `message` is for people.

    `by` is a person, USER@HOST, and None for a pause that a worker found necessary. `since_ms` is Redis time.
    """

    what: str
    reason: str
    message: str | None
    since_ms: int | None
    by: str | None

    def as_dict(self) -> dict[str, str | None]:
        """Return the form that `--json` prints."""
        since = None if self.since_ms is None else iso(self.since_ms)
        return {"what": self.what, "reason": self.reason, "message": self.message, "since": since, "by": self.by}


def find_pause(redis: Redis, batch: BatchView) -> Pause | None:
    """Return the pause that keeps a batch from being sent, its account's first; None where there is none."""
    if batch.closed:
        return None
    client: Any = redis
    places = {"account": keys.account(batch.account), "batch": keys.batch(batch.id)}
    for what, key in places.items():
        reason, message, since, by = (
            None if raw is None else raw.decode("utf-8", "surrogateescape") for raw in client.hmget(key, _FIELDS)
        )
        if reason:
            return Pause(what, reason, message or None, int(since) if since else None, by or None)
    return None
