"""Reads what the pages show: a fixed number of round trips for each, however many submissions there are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from config.pacing import class_of
from config.schema import Settings
from config.services import pace_policy
from monitor import schedules_part
from monitor.facts import AccountFacts, BatchFacts, ClassFacts, Head, Heads, Listed
from paceline import redis_keys as keys
from paceline.batch_view import BatchView, parse_batch, parse_submission, read_row, state_of
from paceline.circuit import parse_circuit
from paceline.limiter import PaceView, parse_hour, parse_pace
from paceline.model import EndpointClass, Rate, Submission, submission_id
from paceline.pauses import Pause
from paceline.tallies import Tallies, parse_tallies
from paceline.views import AccountView
from paceline.waiting import Surroundings

MOST_BATCHES = 2000
"""So many batches are listed, the newest; reading the heads of more would take longer than a page may."""

MOST_ACCOUNTS = 20

SHOWN_CLASSES = (EndpointClass.ADD, EndpointClass.WAIT, EndpointClass.GET, EndpointClass.LIST)

LOOKED_THROUGH = 5000
"""Of the lists that all batches share (held, uncertain, running), about so many entries are searched for a batch's."""

_HEAD = ("name", "source", "account", "agent", "closed", "paused", "closing", "listed", "created_ms")

BROKEN = (ValueError, KeyError, TypeError, AttributeError, IndexError)
"""What reading a damaged hash raises: it is shown as one that can't be read, beside all others."""


@dataclass(frozen=True, slots=True)
class Around:
    """What every page has: Redis time, the accounts, and the signs of live workers."""

    now_ms: int
    accounts: Mapping[str, AccountFacts]
    signs: tuple[Mapping[str, object], ...]

    def of(self, account: str) -> Surroundings:
        """Return what an account's batches depend on."""
        found = self.accounts.get(account)
        view = found.view if found else AccountView("", None, None, None)
        return Surroundings(view, found.circuit if found else None, self.signs)


class Board:
    """Reads for the pages. Thread-safe; every method raises what redis-py raises where Redis is away."""

    def __init__(self, redis: Any, settings: Settings) -> None:
        self._redis = redis
        self._settings = settings
        self._policy = pace_policy(settings)

    def heads(self) -> Heads:
        """Read every batch in short, the newest first, with the accounts and workers there are: two round trips."""
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.zcard(keys.BATCHES)
            pipe.zrevrange(keys.BATCHES, 0, MOST_BATCHES - 1)
            pipe.smembers(keys.ACCOUNTS)
            pipe.zrange(keys.WORKERS, 0, -1, withscores=True)
            (seconds, micros), total, ids, accounts, workers = pipe.execute()
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        alive = [name.decode() for name, until in workers if until >= now_ms]
        with self._redis.pipeline(transaction=False) as pipe:
            for item in ids:
                pipe.hmget(keys.batch(item.decode()), _HEAD)
            if alive:
                pipe.mget([keys.worker(name) for name in alive])
            rows = pipe.execute()
        signs = _signs(rows.pop()) if alive else ()
        heads = tuple(_head(item.decode(), row) for item, row in zip(ids, rows, strict=True))
        names = dict.fromkeys([*sorted(self._settings.accounts), *sorted(name.decode() for name in accounts)])
        left_out = max(len(names) - MOST_ACCOUNTS, 0)
        return Heads(now_ms, int(total), heads, tuple(names)[:MOST_ACCOUNTS], signs, left_out)

    def batches(self, heads: Heads, shown: Sequence[str]) -> tuple[Around, list[BatchView | str]]:
        """Read some batches, their accounts and those of `heads`, in one round trip.

        Of what can't be read, only the id is given.
        """
        accounts_of = {one.id: one.account for one in heads.batches}
        names = dict.fromkeys([*heads.accounts, *(accounts_of[item] for item in shown if accounts_of.get(item))])
        with self._redis.pipeline(transaction=False) as pipe:
            for item in shown:
                pipe.hgetall(keys.batch(item))
            for name in names:
                self._ask_account(pipe, name, heads.now_ms)
            rows = iter(pipe.execute())
        found = [_batch(item, next(rows)) for item in shown]
        accounts = {name: self._account(rows, name, heads.now_ms) for name in names}
        return Around(heads.now_ms, accounts, heads.signs), found

    def batch(self, batch: str, *, some: int, last: int) -> BatchFacts | None:
        """Read a batch with what its page lists, in three round trips; None for one that isn't there.

        `some` of each list, the `last` entries of the journal. Raises one of `BROKEN` if it is damaged.
        """
        with self._redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.hgetall(keys.batch(batch))
            pipe.zrange(keys.WORKERS, 0, -1, withscores=True)
            pipe.xrevrange(keys.journal(batch), count=last)
            (seconds, micros), raw, workers, entries = pipe.execute()
        if b"account" not in raw:
            return None
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        view = parse_batch(batch, raw)
        alive = [keys.worker(name.decode()) for name, until in workers if until >= now_ms]
        lists = {
            "held": keys.HELD,
            "uncertain": keys.uncertain(view.account, view.agent),
            "running": keys.due(view.account, view.agent),
        }
        with self._redis.pipeline(transaction=False) as pipe:
            for key in lists.values():
                pipe.zscan(key, match=f"{batch}-*", count=LOOKED_THROUGH)
            for reason in view.reasons:
                pipe.zrange(keys.ended(batch), f"[{reason}\n", f"({reason}\v", bylex=True, offset=0, num=min(some, 3))
            self._ask_account(pipe, view.account, now_ms)
            pipe.mget(alive or [keys.worker("")])
            rows = iter(pipe.execute())
        ids = {name: _ids(next(rows)[1], some) for name in lists}
        examples = {reason: [item.decode().rpartition("\n")[2] for item in next(rows)] for reason in view.reasons}
        account = self._account(rows, view.account, now_ms)
        around = Around(now_ms, {view.account: account}, _signs(next(rows)))
        found = self.submissions([item for some_ids in ids.values() for item in some_ids])
        listed = {name: [one for one in found if one.id in set(ids[name])] for name in lists}
        return BatchFacts(view, around, listed, examples, tuple(_entries(entries)))

    def page(self, batch: BatchView, first: int, number: int) -> list[str]:
        """Name the submissions of a batch from the `first` (counted from 0) on, halves behind all others."""
        ids = [submission_id(batch.id, n) for n in range(first + 1, min(first + number, batch.in_manifest) + 1)]
        if len(ids) < number and batch.extra:
            start = max(first - batch.in_manifest, 0)
            rows = self._redis.zrange(keys.halves(batch.id), start, start + number - len(ids) - 1)
            ids += [item.decode() for item in rows]
        return ids

    def submissions(self, ids: Sequence[str]) -> list[Listed]:
        """Read submissions in the order of their ids, in one round trip; those that aren't there are left out."""
        with self._redis.pipeline(transaction=False) as pipe:
            for item in ids:
                pipe.hgetall(keys.submission(item))
            rows = pipe.execute()
        return [_listed(item, raw) for item, raw in zip(ids, rows, strict=True) if raw]

    def schedules(self, heads: Heads) -> dict[str, Any] | None:
        """Read how the schedules stand; None where there is none."""
        by_id = {one.id: one for one in heads.batches}
        return schedules_part.make(self._redis, self._settings, heads.now_ms, by_id)

    def rate_of(self, batch: BatchView) -> tuple[EndpointClass, Rate] | None:
        """Return the limit that a batch is held to; None where its account isn't set here."""
        account = self._settings.accounts.get(batch.account)
        if account is None:
            return None
        endpoint = class_of(batch, account)
        return endpoint, account.rates[endpoint]

    def pace_of(self, batch: BatchView, around: Around) -> PaceView | None:
        """Return how the class stands that starts a batch's runs; None where its account isn't set here."""
        rate, account = self.rate_of(batch), around.accounts.get(batch.account)
        return account.classes[rate[0]].pace if rate and account and rate[0] in account.classes else None

    def _rates(self, account: str) -> Mapping[EndpointClass, Rate]:
        return self._settings.accounts[account].rates if account in self._settings.accounts else {}

    def _ask_account(self, pipe: Any, account: str, now_ms: int) -> None:
        pipe.hgetall(keys.account(account))
        rates = self._rates(account)
        for endpoint in SHOWN_CLASSES if rates else ():
            log, window = keys.pace_log(account, endpoint), self._policy.window_ms(rates[endpoint])
            pipe.zcount(log, now_ms - window, "+inf")
            pipe.hgetall(keys.pace_state(account, endpoint))

    def _account(self, rows: Iterator[Any], account: str, now_ms: int) -> AccountFacts:
        """Take an account's answers from `rows`, in the order of `_ask_account`."""
        raw, rates = next(rows), self._rates(account)
        answers = {one: (int(next(rows)), next(rows)) for one in (SHOWN_CLASSES if rates else ())}
        try:
            classes = {one: self._class(rates[one], *answer, now_ms) for one, answer in answers.items()}
            return _account(account, read_row(raw), classes, now_ms)
        except BROKEN:
            unknown = AccountView("", None, None, None)
            return AccountFacts(account, unknown, None, None, Tallies(), {}, broken=True)

    def _class(self, rate: Rate, used: int, raw: Mapping[bytes, bytes], now_ms: int) -> ClassFacts:
        window = self._policy.window_ms(rate)
        pace = parse_pace(rate, window, now_ms, used=used, used_last_minute=0, raw=raw, oldest=())
        return ClassFacts(pace, parse_hour(raw, now_ms), int(raw.get(b"refused", 0)))


def _account(
    account: str, row: Mapping[str, str], classes: Mapping[EndpointClass, ClassFacts], now_ms: int
) -> AccountFacts:
    since = int(row["paused_ms"]) if row.get("paused_ms") else None
    view = AccountView(row.get("address", ""), row.get("paused"), row.get("paused_message"), since)
    pause = None
    if view.paused:
        pause = Pause("account", view.paused, view.message, since, row.get("paused_by") or None)
    return AccountFacts(account, view, pause, parse_circuit(row, now_ms), parse_tallies(row), classes)


def _head(batch: str, row: Sequence[bytes | None]) -> Head:
    name, source, account, agent, closed, paused, closing, listed, created = (
        None if value is None else value.decode("utf-8", "surrogateescape") for value in row
    )
    if account is None:
        return Head(batch, "", "", "", "", None, 0)
    state = state_of(closed=closed == "1", paused=paused, closing=closing == "1", listed=listed == "1")
    at = int(created) if created and created.isdigit() else 0
    return Head(batch, name or "", source or "", account, agent or "", state, at)


def _batch(batch: str, raw: Mapping[bytes, bytes]) -> BatchView | str:
    try:
        return parse_batch(batch, raw)
    except BROKEN:
        return batch


def _listed(submission: str, raw: Mapping[bytes, bytes]) -> Listed:
    found: Submission | None
    try:
        found = parse_submission(submission, raw)
    except BROKEN:
        found = None
    return Listed(submission, found)


def _ids(rows: Iterable[tuple[bytes, float]], most: int) -> list[str]:
    return [item.decode() for item, _ in sorted(rows, key=lambda row: row[1])[:most]]


def _signs(values: Iterable[bytes | None]) -> tuple[Mapping[str, object], ...]:
    signs = []
    for value in values:
        try:
            sign = json.loads(value) if value else None
        except ValueError:
            continue
        if isinstance(sign, dict):
            signs.append(sign)
    return tuple(signs)


def _entries(entries: Iterable[tuple[bytes, Mapping[bytes, bytes]]]) -> Iterator[dict[str, str]]:
    for entry, raw in entries:
        yield {**read_row(raw), "at_ms": entry.decode().partition("-")[0]}
