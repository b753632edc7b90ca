"""What a plan can learn from the ledger, if one is at hand: what earlier batches came to, and how the account stands.

A plan needs no ledger. Where there is none, or it doesn't answer soon, the plan says so and goes by assumptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from cli.reading import reading
from cli.target import Target, excluded
from paceline.errors import ConfigError, UnsafeRedis
from paceline.model import EndpointClass, Outcome, State
from producers.estimating import Experience, RunSeen

if TYPE_CHECKING:
    from config.services import Services
    from paceline.views import BatchView, Views

ANSWER_S = 3.0
"""For a Redis to answer; a person waits meanwhile."""

BATCHES, RUNS_EACH = 20, 500
"""Of earlier batches, the newest ones are read, and so many runs of each: a second at the most."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a class of requests stands: the learned limit, None where none was taught, and the seconds it is closed."""

    learned: int | None = None
    closed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Past:
    """What is known from before. `ledger` is False where nothing could be read.

    `experience` is of this account and agent; `ahead` counts other batches' submissions that wait on the account;
    `known` is the batch itself, if it was begun. `notes` say what a person should know of all this.
    """

    exclude: tuple[str, ...]
    experience: Experience = field(default_factory=Experience)
    standings: Mapping[EndpointClass, Standing] = field(default_factory=dict)
    ahead: int = 0
    known: BatchView | None = None
    ledger: bool = False
    notes: tuple[str, ...] = ()


def look_back(target: Target, *, agent_known: bool) -> Past:
    """Read the ledger that is at hand; start none that was never there. Never raises for one that can't be read."""
    from redis.exceptions import RedisError

    waits = {"redis_connect_seconds": ANSWER_S, "redis_answer_seconds": ANSWER_S}
    settings = target.settings
    if settings.redis_url is not None:
        settings = settings.model_copy(update=waits)
    try:
        with reading(settings) as services:
            if services is None:
                return Past(target.exclude)
            return _read(target, services, agent_known)
    except (ConfigError, UnsafeRedis, RedisError) as error:
        said = str(error) if isinstance(error, ConfigError | UnsafeRedis) else "Redis went away"
        note = f"the ledger can't be read, so nothing is known of earlier batches: {said.partition('; ')[0]}"
        return Past(target.exclude, notes=(note,))


def _read(target: Target, services: Services, agent_known: bool) -> Past:
    views, account = services.views, target.account
    batches = [batch for batch in map(views.find_batch, views.batch_ids()) if batch is not None]
    own = target.spec.batch_id() if agent_known and target.spec.to else ""
    others = [batch for batch in batches if batch.account == account.name and batch.id != own]
    known = next((batch for batch in batches if batch.id == own), None)
    standings = {}
    for endpoint in (EndpointClass.ADD, EndpointClass.WAIT):
        pace = services.limiter.view(account.name, endpoint, account.rates[endpoint])
        standings[endpoint] = Standing(pace.learned, pace.closed_s)
    notes = []
    if paused := views.account(account.name).paused:
        notes.append(f"account {account.name} is paused ({paused}): nothing is sent until it is resumed")
    if known is not None:
        done = f"{known.by_state[State.EXPORTED]:,} of {known.total:,}{'' if known.listed else '+'} submissions"
        state = "is complete already: running it pays nothing" if known.closed else f"was begun, {done} are done"
        notes.append(f"batch {known.id} {state}")
    seen = [batch for batch in batches if batch.account == account.name and batch.agent == target.spec.agent]
    return Past(
        excluded(target, services),
        _experience(views, seen) if agent_known else Experience(),
        standings,
        sum(batch.by_state[State.PLANNED] for batch in others if not batch.paused),
        known,
        True,
        tuple(notes),
    )


def _experience(views: Views, batches: list[BatchView]) -> Experience:
    runs: list[RunSeen] = []
    read = 0
    reached = 0.0
    for batch in [batch for batch in reversed(batches) if batch.runs_accepted][:BATCHES]:
        found = [seen for seen in _runs(views, batch) if seen.seconds is not None or seen.credits is not None]
        read += bool(found)
        runs += found
        if batch.started_ms and batch.finished_ms and batch.finished_ms > batch.started_ms:
            reached = max(reached, batch.size_bytes * 1000 / (batch.finished_ms - batch.started_ms))
    return Experience(read, tuple(runs), reached or None)


def _runs(views: Views, batch: BatchView) -> list[RunSeen]:
    return [
        RunSeen(
            item.files,
            (item.finished_ms - item.submitted_ms) / 1000
            if item.outcome is Outcome.SUCCEEDED and item.finished_ms and item.submitted_ms
            else None,
            item.credits,
        )
        for item in islice(views.submissions(batch.id), RUNS_EACH)
        if item.run_id and item.outcome is not None
    ]
