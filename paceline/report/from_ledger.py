"""Gather a report from the ledger: one pass over the submissions, one over the journal, done by the server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from redis import Redis

from paceline import redis_keys as keys
from paceline.model import EndpointClass, Rate
from paceline.report.collecting import Collector, Item, with_files
from paceline.report.left_out import with_names
from paceline.report.numbers import Report, Skipped, Twice, Way
from paceline.report.timeline import ByItem, Timeline, empty_timeline, read_journal
from paceline.scripts import Scripts
from paceline.summary import summarize
from paceline.views import BatchView, Views

HELD_SHOWN, DUPLICATES_SHOWN = 20, 20

_FIELDS = ("outcome", "reason", "files", "submitted_ms", "finished_ms", "run_id", "run_url", "error")
_AT_ONCE = 1000


def gather(
    redis: Redis,
    views: Views,
    batch: BatchView,
    *,
    version: str,
    rate: Rate | None = None,
    endpoint: EndpointClass = EndpointClass.ADD,
    waits: str | None = None,
) -> Report:
    """Read all that a report says of a batch. `rate` is its account's limit for `endpoint`, None where it isn't known.

    Reads only; what changes meanwhile may be counted in one place and not yet in another.
    """
    now_ms = views.now_ms()
    line = _timeline(redis, batch, now_ms, rate)
    by_item, collector = ByItem(line) if line else None, Collector()
    for item in _items(redis, views, batch):
        collector.add(item)
        if by_item is not None:
            by_item.add(item.started_ms, item.finished_ms, item.outcome)
    if by_item is not None:
        by_item.fill_in()
    failures = collector.failures()
    some = [example.submission for one in failures for example in one.examples]
    names = {item: tuple(file.path for file in files) for item, (_, files) in views.with_files(some).items()}
    return Report(
        summary=summarize(batch, now_ms, rate),
        way=_way(batch, rate, endpoint),
        timeline=line,
        durations=collector.durations(),
        failures=with_files(failures, names),
        skipped=_skipped(batch),
        slowest=collector.slowest(),
        duplicates=[
            Twice(run, submission, batch.duplicate_credits.get(run))
            for run, submission in islice(batch.duplicates.items(), DUPLICATES_SHOWN)
        ],
        held=views.held(batch.id, HELD_SHOWN),
        made_ms=now_ms,
        version=version,
        size_bytes=batch.size_bytes,
        unaudited=batch.unaudited,
        tolerated=batch.tolerated,
        waits=waits,
    )


def _way(batch: BatchView, rate: Rate | None, endpoint: EndpointClass) -> Way:
    return Way(
        source=batch.source,
        account=batch.account,
        provider=batch.provider,
        agent=batch.agent,
        to=batch.to,
        files_per_run=batch.files_per_run,
        priority=batch.priority,
        options=batch.options,
        choices=batch.choices,
        requests_class=endpoint.value,
        rate=rate,
    )


def _timeline(redis: Redis, batch: BatchView, now_ms: int, rate: Rate | None) -> Timeline | None:
    if batch.started_ms is None:
        return None
    line = empty_timeline(batch.started_ms, batch.finished_ms or now_ms, rate)
    read_journal(redis, Scripts(redis), batch.id, line)
    return line


def _items(redis: Redis, views: Views, batch: BatchView) -> Iterator[Item]:
    client: Any = redis  # redis-py types replies as unions of every mode it has; ours are bytes
    every = views.ids(batch)
    while ids := list(islice(every, _AT_ONCE)):
        with client.pipeline(transaction=False) as pipe:
            for item in ids:
                pipe.hmget(keys.submission(item), _FIELDS)
            rows = pipe.execute()
        for item, (outcome, reason, files, started, finished, run_id, run_url, error) in zip(ids, rows, strict=True):
            yield Item(
                item,
                _text(outcome),
                _text(reason),
                int(files or 0),
                int(started) if started else None,
                int(finished) if finished else None,
                _text(run_id),
                _text(run_url),
                _message(error),
            )


def _text(raw: bytes | None) -> str | None:
    return None if raw is None else raw.decode("utf-8", "surrogateescape")


def _message(raw: bytes | None) -> str | None:
    if not raw:
        return None
    error: Mapping[str, Any] = json.loads(raw)
    status = f" (HTTP {error['http_status']})" if error.get("http_status") else ""
    return f"{error.get('message', '')}{status}" or None


def _skipped(batch: BatchView) -> list[Skipped]:
    """Return why files were left out, with some names as far as they stand near the beginning of the manifest."""
    rows = [Skipped(reason, number) for reason, number in batch.left_out.items() if number]
    if not rows and batch.files_skipped:  # not all listed yet, or planned by a version that didn't count them
        rows = [Skipped("", batch.files_skipped)]
    return with_names(rows, batch.manifest)
