"""Reads what the metrics are made from: everything the ledger counts, in four round trips however much there is."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from config.queues import queue_names
from config.schema import Settings
from config.services import pace_policy
from monitor.board import BROKEN
from monitor.catalog import LOOKED_AT
from monitor.nights import ScheduleFacts, ask_nights, ask_schedules, take_nights, take_schedules
from paceline import redis_keys as keys
from paceline.batch_view import BatchView, parse_batch, read_row
from paceline.formats import FIELD, check_found
from paceline.limiter import PaceView, parse_pace
from paceline.model import BatchState, EndpointClass, State, batch_of
from paceline.tallies import Tallies, parse_tallies

log = logging.getLogger("paceline.flower")

MOST_HELD = 1000
"""So many held submissions are looked at for the oldest of each account; there are few, as each wants a person."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How one class of an account stands. `granted` and `refused` are counted since the class was last forgotten."""

    view: PaceView
    granted: int
    refused: int


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """An account as the ledger has it: `paused` is the reason, None where it isn't; `released` counts submissions.

    `paces` is empty for an account that the settings don't have; `waits_s` is its provider's longest wait, 0 for none.
    """

    tallies: Tallies
    paused: str | None
    down: bool
    released: int
    paces: Mapping[EndpointClass, Pace]
    waits_s: int


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """What one look at the ledger found. Times are Redis milliseconds.

    `moved_ms` has the last transition of each batch that isn't complete or paused; `held_ms` and `doubted_ms` since
    when the oldest held and uncertain submission of an account is so. `readers` counts the workers of each queue,
    `beats` the processes that start nights.
    """

    now_ms: int
    batches: Sequence[BatchView]
    accounts: Mapping[str, AccountFacts]
    moved_ms: Mapping[str, int]
    held_ms: Mapping[str, int]
    doubted_ms: Mapping[str, int]
    workers: int
    readers: Mapping[str, int]
    queued: Mapping[str, int]
    beats: int
    schedules: Mapping[str, ScheduleFacts]


def read_ledger(client: Any, settings: Settings) -> LedgerFacts:
    """Look at everything. Raises `RedisError`, and `ConfigError` for a ledger of another format version."""
    with client.pipeline(transaction=False) as pipe:
        pipe.time()
        pipe.hget(keys.META, FIELD)
        pipe.zrange(keys.BATCHES, 0, -1)
        pipe.smembers(keys.ACCOUNTS)
        pipe.zrange(keys.HELD, 0, MOST_HELD - 1, withscores=True)
        pipe.zrange(keys.WORKERS, 0, -1, withscores=True)
        pipe.zrange(keys.BEATS, 0, -1, withscores=True)
        ask_schedules(pipe, settings.schedules)
        (seconds, micros), version, ids, found, held, signs, beats, *others = pipe.execute()
    check_found(version)
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    names = sorted({name.decode() for name in found} | set(settings.accounts))
    alive = [sign.decode() for sign, until in signs if until >= now_ms]
    queues = queue_names(names)
    dues = take_schedules(iter(others), settings.schedules)

    with client.pipeline(transaction=False) as pipe:
        for item in ids:
            pipe.hgetall(keys.batch(item.decode()))
        for name in names:
            _ask_account(pipe, settings, name, now_ms)
        for worker in alive:
            pipe.get(keys.worker(worker))
        for queue in queues:
            pipe.llen(queue)
        ask_nights(pipe, dues)
        rows = iter(pipe.execute())
    raws = [(item.decode(), next(rows)) for item in ids]
    batches = list(_readable(raws))
    accounts = {name: _account(rows, settings, name, now_ms) for name in names}
    workers = [_queues_of(next(rows)) for _ in alive]
    queued = {queue: int(next(rows)) for queue in queues}
    schedules = take_nights(rows, dues)

    of_batch = {batch.id: batch.account for batch in batches}
    open_ = [batch for batch in batches if batch.state is not BatchState.COMPLETE and not batch.paused]
    agents = sorted({(one.account, one.agent) for one in batches if one.by_state[State.UNCERTAIN] > 0})
    with client.pipeline(transaction=False) as pipe:
        for batch in open_:
            pipe.xrevrange(keys.journal(batch.id), count=1)
        for account, agent in agents:
            pipe.zrange(keys.uncertain(account, agent), 0, LOOKED_AT - 1)
        answers = iter(pipe.execute())
    moved_ms = {batch.id: _last_ms(next(answers), batch.created_ms) for batch in open_}
    doubted = [(account, item.decode()) for account, _ in agents for item in next(answers)]
    return LedgerFacts(
        now_ms=now_ms,
        batches=batches,
        accounts=accounts,
        moved_ms=moved_ms,
        held_ms=_oldest((of_batch.get(batch_of(item.decode())), score) for item, score in held),
        doubted_ms=_doubts(client, doubted),
        workers=sum(one is not None for one in workers),
        readers={queue: sum(queue in (one or ()) for one in workers) for queue in queues},
        queued=queued,
        beats=sum(until > now_ms for _, until in beats),
        schedules=schedules,
    )


def _readable(raws: Iterable[tuple[str, Mapping[bytes, bytes]]]) -> Iterator[BatchView]:
    """Leave out what is damaged: one such batch must not leave all others unwatched."""
    for item, raw in raws:
        if b"account" in raw:
            try:
                yield parse_batch(item, raw)
            except BROKEN as error:
                log.warning("metrics.damaged", extra={"batch": item, "error": type(error).__name__})


def _ask_account(pipe: Any, settings: Settings, name: str, now_ms: int) -> None:
    pipe.hgetall(keys.account(name))
    pipe.zcard(keys.released(name))
    policy = pace_policy(settings)
    for endpoint, rate in _rates(settings, name).items():
        log = keys.pace_log(name, endpoint)
        pipe.zcount(log, now_ms - policy.window_ms(rate), "+inf")
        pipe.hgetall(keys.pace_state(name, endpoint))


def _account(rows: Any, settings: Settings, name: str, now_ms: int) -> AccountFacts:
    """Take an account's answers from `rows`, in the order of `_ask_account`."""
    row = read_row(next(rows))
    released = int(next(rows))
    paces = {}
    policy = pace_policy(settings)
    for endpoint, rate in _rates(settings, name).items():
        used, raw = int(next(rows)), next(rows)
        view = parse_pace(rate, policy.window_ms(rate), now_ms, used=used, used_last_minute=0, raw=raw, oldest=())
        paces[endpoint] = Pace(view, int(raw.get(b"seq", 0)), int(raw.get(b"refused", 0)))
    return AccountFacts(
        tallies=parse_tallies(row),
        paused=row.get("paused"),
        down="down_until" in row,
        released=released,
        paces=paces,
        waits_s=settings.accounts[name].kind.capabilities.waits_s if paces else 0,
    )


def _rates(settings: Settings, name: str) -> Mapping[EndpointClass, Any]:
    """Return an account's limits; none for one that these settings don't have."""
    return settings.accounts[name].rates if name in settings.accounts else {}


def _queues_of(sign: bytes | None) -> set[str] | None:
    """Return the queues a worker reads; None for one whose sign of life is over."""
    if sign is None:
        return None
    queues: Any = None
    with suppress(ValueError, AttributeError):
        queues = json.loads(sign).get("queues")
    return {queue for queue in queues if isinstance(queue, str)} if isinstance(queues, list) else set()


def _last_ms(entries: Sequence[tuple[bytes, Any]], created_ms: int) -> int:
    return int(entries[0][0].partition(b"-")[0]) if entries else created_ms


def _doubts(client: Any, doubted: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Return since when the oldest of each account is in doubt. What was settled by now is left out."""
    with client.pipeline(transaction=False) as pipe:
        for _, item in doubted:
            pipe.hget(keys.submission(item), "doubt_ms")
        answers = pipe.execute()
    pairs = zip(doubted, answers, strict=True)
    return _oldest((account, float(since)) for (account, _), since in pairs if since is not None)


def _oldest(found: Any) -> dict[str, int]:
    oldest: dict[str, int] = {}
    for account, since_ms in found:
        if account is not None:
            oldest[account] = min(int(since_ms), oldest.get(account, int(since_ms)))
    return oldest
