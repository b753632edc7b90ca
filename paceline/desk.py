"""What the ledger keeps about batches and accounts beside the states of their submissions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from redis import Redis

from paceline import redis_keys as keys
from paceline.errors import UnknownBatch
from paceline.lifecycle import Verb
from paceline.model import EndpointClass, Follow, State, Step, batch_of, follow_agent_key
from paceline.replies import Ending, Lost, Moved
from paceline.scripts import Arg, Scripts

EXPORT_LEASE_S = 30.0
"""A finished submission whose export isn't recorded after this long is exported again."""


class Desk:
    """Counts, the closing's progress, and how verbs are carried out. Thread-safe."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis: Any = redis  # redis-py types replies as unions of every mode it has; ours are bytes
        self._scripts = scripts
        self.place = lru_cache(maxsize=4096)(self._look_up_place)

    def close_batch(self, batch: str) -> bool:
        """Record that a batch's final output is committed; False if it was, or if something isn't exported."""
        return bool(self._scripts.run("close_batch", [keys.batch(batch)]))

    def count_requests(self, batches: Mapping[str, int], endpoint: EndpointClass) -> None:
        """Count requests that were made on behalf of batches."""
        with self._redis.pipeline(transaction=False) as pipe:
            for batch, number in batches.items():
                pipe.hincrby(keys.batch(batch), f"req:{endpoint}", number)
            pipe.execute()

    def audit_progress(self, batch: str) -> tuple[int, int]:
        """Return the index at which the closing audit goes on, and how often in a row it has failed there."""
        at, tries = self._redis.hmget(keys.batch(batch), ["audit_at", "audit_tries"])
        return int(at or 1), int(tries or 0)

    def audited(self, batch: str, index: int, tries: int) -> None:
        """Note how far the closing audit has come."""
        self._redis.hset(keys.batch(batch), mapping={"audit_at": index, "audit_tries": tries})

    def left_out(self, batch: str, reasons: Mapping[str, int]) -> None:
        """Note how many files of a batch's set are in no submission, by reason; once its listing is complete."""
        if reasons:
            numbers = {f"left:{reason}": number for reason, number in reasons.items()}
            self._redis.hset(keys.batch(batch), mapping=numbers)

    def trouble(self, batch: str, message: str) -> None:
        """Note what keeps a batch from going on, for `status`; `""` clears it."""
        self._redis.hset(keys.batch(batch), "trouble", message.encode("utf-8", "surrogateescape"))

    def rebuilt(self, batch: str, *, listed: bool, skipped: int, manifest_bytes: int, committed: bool) -> bool:
        """Let a rebuilt batch go on; False if it wasn't being rebuilt. All exported and `committed`: it is complete."""
        account, _ = self.place(batch)
        wanted = [keys.batch(batch), keys.CHAINS, keys.feed(account), keys.account(account), keys.planned(batch)]
        args: list[Arg] = [batch, account, int(listed), skipped, manifest_bytes, int(committed)]
        return bool(self._scripts.run("rebuilt", wanted, args))

    def _look_up_place(self, batch: str) -> tuple[str, str]:
        """Return a batch's account and agent, which never change. Raises `UnknownBatch`."""
        account, agent = self._redis.hmget(keys.batch(batch), ["account", "agent"])
        if account is None or agent is None:
            raise UnknownBatch(f"no batch {batch}")
        return account.decode(), agent.decode()

    def _finish(self, endings: Sequence[Ending], verb: Verb, sources: tuple[State, ...]) -> list[Moved | Lost]:
        calls = [(self._way(end.submission), finish_args(end, verb, sources)) for end in endings]
        return [finished(end, row) for end, row in zip(endings, self._scripts.run_many("finish", calls), strict=True)]

    def _way(self, submission: str) -> list[str]:
        return keys.way(submission, *self.place(batch_of(submission)))

    def _follow(self, step: Step, batch: str, wake_ms: int) -> Follow | None:
        if wake_ms < 0:
            return None
        account, agent = self.place(batch)
        key = {Step.FEED: account, Step.CLOSE: batch}.get(step, follow_agent_key(account, agent))
        return Follow(step, key, wake_ms / 1000)

    def _moved(
        self, script: str, submission: str, args: list[Arg], step: Step | None = None, more: Sequence[str] = ()
    ) -> Moved | Lost:
        return self._as_moved(self._scripts.run(script, [*self._way(submission), *more], args), submission, step)

    def _as_moved(self, row: Sequence[Any], submission: str, step: Step | None) -> Moved | Lost:
        if row[0] != b"ok":
            return Lost()
        follow = self._follow(step, batch_of(submission), int(row[2])) if step is not None else None
        return Moved(int(row[1]), follow)


def finish_args(end: Ending, verb: Verb, sources: tuple[State, ...]) -> list[Arg]:
    """Return what `lua/finish.lua` is called with, but for the token."""
    args: list[Arg] = [end.submission, end.generation, verb.value, ",".join(sources), end.outcome.value, end.reason]
    args.append(json.dumps(end.error.as_dict()) if end.error else "")
    run = end.run
    args += [run.raw_status, "" if run.credits is None else run.credits, run.run_url or ""] if run else ["", "", ""]
    return [*args, round(EXPORT_LEASE_S * 1000), "" if end.finished_ms is None else end.finished_ms]


def finished(end: Ending, row: Sequence[Any]) -> Moved | Lost:
    """Read the answer of `lua/finish.lua`."""
    return Moved(int(row[1]), Follow(Step.EXPORT, end.submission)) if row[0] == b"ok" else Lost()
