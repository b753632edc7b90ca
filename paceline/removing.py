"""Remove complete batches from the ledger, for good and in small steps.

First a batch is forgotten, in one atomic step: from then on the ledger doesn't have it, nothing of it moves, and the
same command is told that it was complete and paid for. Only then its keys are removed, a few at a time, the journal
last. A crash leaves keys that nobody looks at, and a note in `pl:removing` by which the next call goes on.

This machine's spool keeps its notes: it ends by itself (`paceline.spool.MOST_BYTES`), and where an older Redis is put
back, in which a removed batch is under way, those notes are what shows that it was paid for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from redis import Redis

from paceline import redis_keys as keys
from paceline.model import State, submission_id
from paceline.results import PARTIAL
from paceline.scripts import Scripts
from paceline.views import BatchView

CHUNK = 100
"""Submissions removed in one script: well under a millisecond, and no worker waits longer."""


def is_removable(batch: BatchView) -> bool:
    """Tell whether a batch is complete, so that nothing can happen to it any more but by a person's word."""
    exported = batch.by_state[State.EXPORTED] == batch.total
    return batch.closed and exported and not batch.rebuilding and batch.finished_ms is not None


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What stays known of a batch that was complete and is removed: its destinations, its summary, and
    whether what failed in it was tolerated."""

    to: tuple[str, ...]
    summary: Mapping[str, Any]
    tolerated: bool


def find_forgotten(redis: Redis, batch: str) -> Forgotten | None:
    """Return what is known of a removed batch; None for any other."""
    raw: Any = redis.hget(keys.FORGOTTEN, batch)
    return None if raw is None else _parse(raw)


def all_forgotten(redis: Redis) -> list[Forgotten]:
    """Return what is known of all removed batches."""
    rows: Any = redis.hvals(keys.FORGOTTEN)
    return [_parse(raw) for raw in rows]


def _parse(raw: bytes) -> Forgotten:
    row = json.loads(raw)
    return Forgotten(tuple(row["to"]), row["summary"], row["tolerated"])


class Remover:
    """Removes batches. `result_key` names the key of a submission's result in the results backend, on the same Redis.

    Workers may go on meanwhile, and several processes may remove the same.
    """

    def __init__(self, redis: Redis, scripts: Scripts, result_key: Callable[[str], str | bytes]) -> None:
        self._redis: Any = redis  # redis-py types replies as unions of every mode it has; ours are bytes
        self._scripts = scripts
        self._result_key = result_key

    def unfinished(self) -> list[str]:
        """Return the batches whose removal was begun and isn't through."""
        return sorted(batch.decode() for batch in self._redis.hkeys(keys.REMOVING))

    def remove(self, batch: BatchView, summary: Mapping[str, Any]) -> bool:
        """Forget a batch and remove its keys; False if it isn't complete any more, and then nothing has changed."""
        wanted = [keys.batch(batch.id), keys.BATCHES, keys.REMOVING, keys.FORGOTTEN]
        known = json.dumps({"to": batch.to, "summary": summary, "tolerated": batch.tolerated})
        if not self._scripts.run("forget", wanted, [batch.id, known, batch.finished_ms or ""]):
            return False
        self.finish(batch.id)
        return True

    def finish(self, batch: str) -> None:
        """Remove what is left of a batch that was forgotten."""
        total = self._redis.hget(keys.REMOVING, batch)
        halves = self._redis.zrange(keys.halves(batch), 0, -1)
        names = [submission_id(batch, index) for index in range(1, int(total or 0) - len(halves) + 1)]
        names += [half.decode() for half in halves]
        for start in range(0, len(names), CHUNK):
            if not self._remove(batch, [key for name in names[start : start + CHUNK] for key in self._keys(name)]):
                return
        self._remove(batch, [keys.planned(batch), keys.halves(batch), keys.ended(batch)])
        self._remove(batch, [keys.journal(batch), keys.batch(batch)], last=True)

    def _keys(self, submission: str) -> list[str | bytes]:
        ours: list[str | bytes] = [keys.submission(submission), keys.files(submission), keys.digests(submission)]
        return [*ours, self._result_key(submission), self._result_key(submission + PARTIAL)]

    def _remove(self, batch: str, names: list[Any], *, last: bool = False) -> bool:
        return bool(self._scripts.run("remove", [keys.REMOVING, *names], [batch, int(last)]))
