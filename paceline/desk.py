"""What the ledger keeps about batches and accounts beside the states of their submissions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from redis import Redis

from paceline import redis_keys as keys
from paceline.errors import UnknownBatch
from paceline.model import EndpointClass, Follow, Step
from paceline.scripts import Arg, Scripts

BY_PERSON = "by_person"
"""The reason of a pause that a person asked for."""


class Desk:
    """Pauses, counts, the closing's progress. Thread-safe."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis: Any = redis  # redis-py types replies as unions of every mode it has; ours are bytes
        self._scripts = scripts
        self.place = lru_cache(maxsize=4096)(self._look_up_place)

    def close_batch(self, batch: str) -> bool:
        """Record that a batch's final output is committed; False if it was, or if something isn't exported."""
        return bool(self._scripts.run("close_batch", [keys.batch(batch)]))

    def choose(self, batch: str, choices: Mapping[str, str]) -> None:
        """Change how a batch is run; an empty text takes a choice back."""
        with self._redis.pipeline(transaction=True) as pipe:
            for name, value in choices.items():
                if value:
                    pipe.hset(keys.batch(batch), f"choice:{name}", value)
                else:
                    pipe.hdel(keys.batch(batch), f"choice:{name}")
            pipe.execute()

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

    def trouble(self, batch: str, message: str) -> None:
        """Note what keeps a batch from going on, for `status`; `""` clears it."""
        self._redis.hset(keys.batch(batch), "trouble", message.encode("utf-8", "surrogateescape"))

    def pause_by_hand(self, account: str, *, batch: str = "", message: str, by: str = "") -> bool:
        """Pause an account (or only a batch) on a person's word, until `resume`; False if it was paused already.

        What is under way goes on. A pause that stands keeps its reason. `by` says who it is.
        """
        wanted = [keys.batch(batch) if batch else keys.account(account), keys.feed(account)]
        return bool(self._scripts.run("pause_by_hand", wanted, [batch, BY_PERSON, message, by]))

    def resume(self, account: str, *, batch: str = "", reason: str = "") -> tuple[bool, Follow | None]:
        """Let a paused account (or batch) go on, if it is paused for `reason` ('' = any); False if it wasn't."""
        wanted = [keys.batch(batch) if batch else keys.account(account), keys.CHAINS, keys.feed(account)]
        wanted.append(keys.account(account))
        was, wake = self._scripts.run("resume", wanted, [account, batch, reason])
        return bool(was), None if int(wake) < 0 else Follow(Step.FEED, account, int(wake) / 1000)

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
