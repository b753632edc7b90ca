"""Read the ledger: batches, submissions and totals as values. Nothing here changes anything."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from redis import Redis

from paceline import redis_keys as keys
from paceline.batch_view import BatchView as BatchView
from paceline.batch_view import parse_batch, parse_submission, read_row
from paceline.errors import UnknownBatch, UnknownSubmission
from paceline.halving import in_order
from paceline.model import (
    PlannedFile,
    Submission,
    batch_of,
    index_of,
    submission_id,
)
from paceline.packing import unpack_files
from paceline.tallies import Tallies, parse_tallies


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account's address and pause; `paused` and what follows are None where it isn't paused."""

    address: str
    paused: str | None
    message: str | None
    since_ms: int | None


@dataclass(frozen=True, slots=True)
class Whole:
    """A submission with all that a step on it needs, as it was at one moment."""

    item: Submission
    batch: BatchView
    packed: bytes | None
    digests: Sequence[bytes]

    @property
    def files(self) -> tuple[PlannedFile, ...]:
        """Its files in manifest order. Raises `UnknownSubmission`."""
        return _files(self.item.id, self.packed)


def _files(submission: str, packed: bytes | None) -> tuple[PlannedFile, ...]:
    if packed is None:
        raise UnknownSubmission(f"no files on record for submission {submission}")
    return unpack_files(packed)


def _digests(packed: bytes | None) -> Sequence[bytes]:
    return [packed[at : at + 32] for at in range(0, len(packed), 32)] if packed else []


def _words(*texts: bytes | None) -> set[str]:
    return {word.decode() for text in texts if text for word in text.split()}


class Views:
    """Everything that can be read. Thread-safe."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis  # redis-py types replies as unions of every mode it has; ours are bytes

    def now_ms(self) -> int:
        """Return Redis time in milliseconds."""
        seconds, micros = self._redis.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def find_batch(self, batch: str) -> BatchView | None:
        """Return a batch, or None."""
        raw = self._redis.hgetall(keys.batch(batch))
        return parse_batch(batch, raw) if b"account" in raw else None

    def batch(self, batch: str) -> BatchView:
        """Return a batch. Raises `UnknownBatch`."""
        found = self.find_batch(batch)
        if found is None:
            raise UnknownBatch(f"no batch {batch}; `paceline list` names them")
        return found

    def batches(self) -> list[BatchView]:
        """Return every batch, oldest first, a few hundred in a round trip."""
        found: list[BatchView] = []
        ids = iter(self.batch_ids())
        while some := list(islice(ids, 500)):
            with self._redis.pipeline(transaction=False) as pipe:
                for item in some:
                    pipe.hgetall(keys.batch(item))
                rows = pipe.execute()
            found += [parse_batch(item, raw) for item, raw in zip(some, rows, strict=True) if b"account" in raw]
        return found

    def batch_ids(self) -> list[str]:
        """Return every batch's id, oldest first."""
        return [item.decode() for item in self._redis.zrange(keys.BATCHES, 0, -1)]

    def find_submission(self, submission: str) -> Submission | None:
        """Return a submission, or None."""
        raw = self._redis.hgetall(keys.submission(submission))
        return parse_submission(submission, raw) if b"state" in raw else None

    def with_files(self, submissions: Sequence[str]) -> dict[str, tuple[Submission, tuple[PlannedFile, ...]]]:
        """Return submissions with their files in manifest order, in one round trip; unknown ones are missing."""
        with self._redis.pipeline(transaction=False) as pipe:
            for item in submissions:
                pipe.hgetall(keys.submission(item))
                pipe.get(keys.files(item))
            rows = pipe.execute()
        pairs = zip(submissions, rows[::2], rows[1::2], strict=True)
        return {
            item: (parse_submission(item, raw), unpack_files(packed))
            for item, raw, packed in pairs
            if b"state" in raw and packed is not None
        }

    def whole(self, submissions: Sequence[str]) -> list[Whole]:
        """Return submissions with their batches and files, in one round trip and the order given.

        Unknown ones are left out, and those of a batch that is being removed.
        """
        batches = list(dict.fromkeys(map(batch_of, submissions)))
        with self._redis.pipeline(transaction=False) as pipe:
            for item in submissions:
                pipe.hgetall(keys.submission(item))
                pipe.get(keys.files(item))
                pipe.get(keys.digests(item))
            for batch in batches:
                pipe.hgetall(keys.batch(batch))
            rows = pipe.execute()
        of = dict(zip(batches, rows[3 * len(submissions) :], strict=True))
        views = {batch: parse_batch(batch, raw) for batch, raw in of.items() if b"account" in raw}
        found = []
        for item, raw, packed, digests in zip(
            submissions, *(rows[at : 3 * len(submissions) : 3] for at in range(3)), strict=True
        ):
            if b"state" in raw and batch_of(item) in views:
                found.append(Whole(parse_submission(item, raw), views[batch_of(item)], packed, _digests(digests)))
        return found

    def run_ids(self, submissions: Sequence[str]) -> dict[str, tuple[set[str], set[str]]]:
        """Return the run ids on record, those of earlier attempts too, in one round trip.

        Beside them those that should still be at the provider: not ended there on a person's word.
        """
        with self._redis.pipeline(transaction=False) as pipe:
            for item in submissions:
                pipe.hmget(keys.submission(item), ["run_id", "past", "reason", "gone"])
            rows = pipe.execute()
        found = {}
        for item, (run_id, past, reason, gone) in zip(submissions, rows, strict=True):
            every = {run.decode() for part in (run_id, past) for run in (part or b"").split()}
            ended = [gone, run_id if reason == b"cancelled" else b""]
            found[item] = every, every - {run.decode() for part in ended for run in (part or b"").split()}
        return found

    def submission(self, submission: str) -> Submission:
        """Return a submission. Raises `UnknownSubmission`."""
        found = self.find_submission(submission)
        if found is None:
            raise UnknownSubmission(f"no submission {submission}; ids look like {submission_id('b012345678', 1)}")
        return found

    def halves(self, batch: str) -> list[int]:
        """Return the indexes of a batch's halves, in no order that means anything."""
        return [index_of(item.decode()) for item in self._redis.zrange(keys.halves(batch), 0, -1)]

    def ids(self, batch: BatchView, skip: int = 0) -> Iterator[str]:
        """Give the ids of a batch's submissions but the first `skip`, by their files, each followed by its halves."""
        return (submission_id(batch.id, index) for index in in_order(batch.in_manifest, self.halves(batch.id), skip))

    def some_submissions(self, submissions: Sequence[str]) -> list[Submission]:
        """Return submissions in the order of their ids as given, in one round trip; unknown ones are left out."""
        with self._redis.pipeline(transaction=False) as pipe:
            for item in submissions:
                pipe.hgetall(keys.submission(item))
            rows = pipe.execute()
        return [parse_submission(item, raw) for item, raw in zip(submissions, rows, strict=True) if b"state" in raw]

    def ended(self, batch: str, reason: str, most: int, *, after: str = "") -> list[str]:
        """Return the first ids of a batch's submissions that ended for a reason (not by success), in order.

        Quick, however many there are; `after` is an id to go on behind. Those that a worker of version 0.1 ended aren't
        among them.
        """
        first = f"({reason}\n{after}" if after else f"[{reason}\n"
        rows = self._redis.zrange(keys.ended(batch), first, f"({reason}\v", bylex=True, offset=0, num=most)
        return [item.decode().rpartition("\n")[2] for item in rows]

    def all_ended(self, batch: BatchView) -> bool:
        """Tell whether `ended` finds all that didn't succeed; not so where a worker of version 0.1 had a part in it."""
        return int(self._redis.zcard(keys.ended(batch.id))) == sum(batch.reasons.values())

    def tallies(self, account: str) -> Tallies:
        """Return what was counted for an account."""
        return parse_tallies(read_row(self._redis.hgetall(keys.account(account))))

    def accounts(self) -> list[str]:
        """Return the names of the accounts that ever had a batch."""
        return sorted(item.decode() for item in self._redis.smembers(keys.ACCOUNTS))

    def submissions(self, batch: str) -> Iterator[Submission]:
        """Yield a batch's submissions in the order of their files, reading a few hundred at a time."""
        every = self.ids(self.batch(batch))
        while ids := list(islice(every, 500)):
            yield from self.some_submissions(ids)

    def files(self, submission: str) -> tuple[PlannedFile, ...]:
        """Return a submission's files in manifest order. Raises `UnknownSubmission`."""
        return _files(submission, self._redis.get(keys.files(submission)))

    def digests(self, submission: str) -> Sequence[bytes]:
        """Return the SHA-256 digests of the bytes sent, in file order; empty where they aren't known."""
        return _digests(self._redis.get(keys.digests(submission)))

    def journal(self, batch: str, submission: str | None = None) -> Iterator[dict[str, str]]:
        """Yield a batch's journal entries in order, with `at_ms`; only one submission's where it is named."""
        last = "-"
        while True:
            entries = self._redis.xrange(keys.journal(batch), min=last, count=1000)
            for entry_id, raw in entries:
                row = read_row(raw)
                row["at_ms"] = entry_id.decode().partition("-")[0]
                if submission is None or row["submission"] == submission:
                    yield row
            if len(entries) < 1000:
                return
            last = "(" + entries[-1][0].decode()

    def journal_of(self, submission: str, most: int = 200) -> list[dict[str, str]]:
        """Return the newest of a submission's journal entries, in order, as `journal` gives them, in two round trips.

        Quick, however long the batch's journal is. Entries that a worker of version 0.1 wrote aren't among them.
        """
        names = [name[2:].decode() for name in self._redis.hkeys(keys.submission(submission)) if name[:2] == b"j:"]
        ids = sorted(names, key=lambda name: tuple(map(int, name.split("-"))))[-most:]
        with self._redis.pipeline(transaction=False) as pipe:
            for item in ids:
                pipe.xrange(keys.journal(batch_of(submission)), item, item)
            rows = pipe.execute()
        found = [(item, entry[1]) for item, entries in zip(ids, rows, strict=True) for entry in entries]
        return [{**read_row(raw), "at_ms": item.partition("-")[0]} for item, raw in found]

    def account(self, account: str) -> AccountView:
        """Return an account's address and pause."""
        wanted = ["address", "paused", "paused_message", "paused_ms"]
        address, why, message, since = self._redis.hmget(keys.account(account), wanted)
        return AccountView(
            address.decode() if address else "",
            why.decode() if why else None,
            message.decode() if message else None,
            int(since) if since else None,
        )

    def held(self, batch: str, most: int = 20) -> list[str]:
        """Return the first of a batch's held submissions, the longest held ones first."""
        return self._of_batch(keys.HELD, batch, most)

    def planned(self, batch: str, most: int) -> list[Submission]:
        """Return the first of a batch's planned submissions, released ones too."""
        ids = [item.decode() for item in self._redis.zrange(keys.planned(batch), 0, most - 1)]
        released = self._of_batch(keys.released(self.batch(batch).account), batch, most)
        found = (self.find_submission(item) for item in dict.fromkeys([*ids, *released]))
        return [item for item in found if item is not None]

    def running(self, batch: BatchView, most: int) -> list[Submission]:
        """Return some of a batch's running submissions."""
        ids = self._of_batch(keys.due(batch.account, batch.agent), batch.id, most)
        return [item for item in map(self.find_submission, ids) if item is not None]

    def uncertain(self, batch: BatchView, most: int = 20) -> list[str]:
        """Return the first of a batch's uncertain submissions, those to be looked for next first."""
        return self._of_batch(keys.uncertain(batch.account, batch.agent), batch.id, most)

    def _of_batch(self, key: str, batch: str, most: int) -> list[str]:
        found = (item.decode() for item in self._redis.zrange(key, 0, -1))
        return list(islice((item for item in found if batch_of(item) == batch), most))

    def some_agent(self, account: str) -> str | None:
        """Return an agent that the account has work for: of the batch that is fed next; None where nothing is."""
        head = self._redis.zrange(keys.feed(account), 0, 0)
        agent = self._redis.hget(keys.batch(head[0].decode()), "agent") if head else None
        return agent.decode() if agent else None

    def waiting(self, account: str) -> int:
        """Return how many submissions are released and not begun."""
        return int(self._redis.zcard(keys.released(account)))

    def uncertain_due(self, account: str, agent: str, most: int) -> list[str]:
        """Return the uncertain submissions whose next look is due."""
        key = keys.uncertain(account, agent)
        rows = self._redis.zrange(key, "-inf", self.now_ms(), byscore=True, offset=0, num=most)
        return [item.decode() for item in rows]

    def next_uncertain_s(self, account: str, agent: str) -> float | None:
        """Return the seconds until the agent's next look is due (0 if it is), None if nothing is uncertain."""
        head = self._redis.zrange(keys.uncertain(account, agent), 0, 0, withscores=True)
        return max(float(head[0][1]) - self.now_ms(), 0.0) / 1000 if head else None

    def known_external_id(self, account: str, agent: str) -> str | None:
        """Return the external id of a run that is known to exist: the positive control of a list."""
        found = self._redis.hget(keys.known(account, agent), "external_id")
        return found.decode() if found else None

    def senders(self) -> dict[str, str]:
        """Return the submissions being submitted, each with the worker that does it."""
        ids = [item.decode() for item in self._redis.zrange(keys.LEASES, 0, -1)]
        with self._redis.pipeline(transaction=False) as pipe:
            for item in ids:
                pipe.hget(keys.submission(item), "worker")
            found = pipe.execute()
        return {item: worker.decode() for item, worker in zip(ids, found, strict=True) if worker}

    def busy_workers(self) -> set[str]:
        """Return the workers that are sending something, or have a chain's turn."""
        holders = {worker.decode() for worker in self._redis.hvals(keys.HOLDERS)}
        return holders | set(self.senders().values())

    def workers(self) -> list[dict[str, object]]:
        """Return the workers that gave a sign of life within 15 s."""
        alive = self._redis.zrange(keys.WORKERS, self.now_ms(), "+inf", byscore=True)
        values = self._redis.mget([keys.worker(name.decode()) for name in alive]) if alive else []
        return [json.loads(value) for value in values if value]

    def queues_read(self) -> set[str]:
        """Return the queues that some live worker reads."""
        read: set[str] = set()
        for sign in self.workers():
            queues = sign.get("queues")
            read |= set(queues) if isinstance(queues, list) else set()
        return read
