"""Makes the samples of every metric from what was read: a pure function of `LedgerFacts`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from monitor import catalog as of
from monitor.catalog import Metric, WaitsFor
from monitor.nights import missed
from monitor.reading import AccountFacts, LedgerFacts
from paceline.batch_view import BatchView
from paceline.lifecycle import Verb
from paceline.model import BatchState, EndpointClass, Outcome, State
from paceline.schedules.night import NightState
from paceline.starting import way_of
from paceline.tallies import Lengths

DUPLICATE = "duplicate"
"""The journal's word for a run beyond a submission's first; no transition, but counted among them."""

_WORD = re.compile(r"[a-z0-9_]{1,40}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric; `labels` in the order of the catalog. A histogram's value are its lengths."""

    metric: Metric
    labels: tuple[str, ...]
    value: float | Lengths


def unreachable() -> list[Sample]:
    """Return what can be said without the ledger."""
    return [Sample(of.UP, (), 0)]


def measure(facts: LedgerFacts, *, took_s: float) -> list[Sample]:
    """Return every sample. Known accounts have series from the start, with zeros, so that an increase is seen."""
    return [
        Sample(of.UP, (), 1),
        Sample(of.READ_SECONDS, (), took_s),
        *(sample for name in facts.accounts for sample in _of_account(name, facts)),
        *_of_batches(facts),
        *_of_workers(facts),
        *_of_schedules(facts),
    ]


def waits_for(batch: BatchView) -> WaitsFor:
    """Tell what an open batch that isn't paused needs to go on."""
    number = batch.by_state
    if number[State.SUBMITTING] or number[State.FINISHED] or batch.closing:
        return WaitsFor.PACELINE
    if number[State.RUNNING] or number[State.UNCERTAIN]:
        return WaitsFor.PROVIDER
    if number[State.PLANNED]:
        return WaitsFor.TURN
    if not batch.listed:
        return WaitsFor.LISTING
    return WaitsFor.PERSON if number[State.HELD] else WaitsFor.PACELINE


def _of_account(name: str, facts: LedgerFacts) -> Iterator[Sample]:
    account = facts.accounts[name]
    batches = [batch for batch in facts.batches if batch.account == name]
    states = Counter(batch.state for batch in batches)
    yield from (Sample(of.BATCHES, (name, state.value), states[state]) for state in BatchState)
    for state in State:
        yield Sample(of.SUBMISSIONS, (name, state.value), sum(batch.by_state[state] for batch in batches))
    for outcome in Outcome:
        yield Sample(of.FILES, (name, outcome.value), sum(batch.files_by_outcome[outcome] for batch in batches))
    yield from _of_waiting(name, account, [] if account.paused else [batch for batch in batches if not batch.paused])
    yield Sample(of.RELEASED, (name,), account.released)
    yield from _of_tallies(name, account)
    yield from _of_pace(name, account)
    if account.paused:
        yield Sample(of.ACCOUNT_PAUSED, (name, _word(account.paused)), 1)
    paused = Counter(_word(batch.paused) for batch in batches if batch.paused and not batch.closed)
    yield from (Sample(of.BATCHES_PAUSED, (name, reason), number) for reason, number in sorted(paused.items()))
    yield Sample(of.CIRCUIT, (name,), int(account.down))
    for metric, since_ms in ((of.HELD_OLDEST, facts.held_ms), (of.UNCERTAIN_OLDEST, facts.doubted_ms)):
        yield Sample(metric, (name,), _age_s(facts, since_ms[name]) if name in since_ms else 0)


def _of_waiting(name: str, account: AccountFacts, batches: Sequence[BatchView]) -> Iterator[Sample]:
    """Give what waits for permits, by the class of the request that will start it."""
    rates = {endpoint: pace.view.rate for endpoint, pace in account.paces.items()}
    waiting: Counter[EndpointClass] = Counter()
    for batch in batches:
        endpoint = EndpointClass.ADD
        if rates:
            endpoint, _ = way_of(batch.choices, batch.complete_size, rates, account.waits_s)
        waiting[endpoint] += batch.by_state[State.PLANNED]
    for endpoint in (EndpointClass.ADD, EndpointClass.WAIT):
        yield Sample(of.WAITING, (name, endpoint.value), waiting[endpoint])


def _of_tallies(name: str, account: AccountFacts) -> Iterator[Sample]:
    tallies = account.tallies
    for verb in sorted({*(verb.value for verb in Verb), *filter(_WORD.fullmatch, tallies.verbs)} - {DUPLICATE}):
        yield Sample(of.TRANSITIONS, (name, verb), tallies.verbs.get(verb, 0))
    for outcome in Outcome:
        yield Sample(of.OUTCOMES, (name, outcome.value), tallies.ended.get(outcome, 0))
    yield Sample(of.DUPLICATES, (name,), tallies.verbs.get(DUPLICATE, 0))
    yield Sample(of.CREDITS, (name,), tallies.credits)
    yield Sample(of.RUN_SECONDS, (name,), tallies.runs)
    yield Sample(of.EXPORT_SECONDS, (name,), tallies.exports)


def _of_pace(name: str, account: AccountFacts) -> Iterator[Sample]:
    for endpoint, pace in account.paces.items():
        labels, view = (name, endpoint.value), pace.view
        yield Sample(of.PERMIT_LIMIT, labels, view.rate.limit)
        yield Sample(of.PERMITS_ALLOWED, labels, view.rate.limit if view.learned is None else view.learned)
        yield Sample(of.PERMIT_WINDOW, labels, view.rate.window_s)
        yield Sample(of.PERMITS_USED, labels, view.used)
        yield Sample(of.PERMITS, labels, pace.granted)
        if view.learned is not None:
            yield Sample(of.LEARNED, labels, view.learned)
        yield Sample(of.REFUSED, labels, pace.refused)
        yield Sample(of.CLOSED, labels, view.closed_s)


def _of_batches(facts: LedgerFacts) -> Iterator[Sample]:
    """Give the batches that could go on, those that stand still the longest first, and no more than the limit."""
    free = {name for name, account in facts.accounts.items() if account.paused is None and not account.down}
    going = [batch for batch in facts.batches if batch.id in facts.moved_ms and batch.account in free]
    going.sort(key=lambda batch: facts.moved_ms[batch.id])
    for batch in going[: of.OPEN_BATCHES]:
        labels = (batch.account, batch.id, waits_for(batch).value)
        yield Sample(of.BATCH_IDLE, labels, _age_s(facts, facts.moved_ms[batch.id]))


def _of_workers(facts: LedgerFacts) -> Iterator[Sample]:
    yield Sample(of.WORKERS, (), facts.workers)
    yield from (Sample(of.QUEUE_WORKERS, (queue,), number) for queue, number in facts.readers.items())
    yield from (Sample(of.QUEUE_MESSAGES, (queue,), number) for queue, number in facts.queued.items())


def _of_schedules(facts: LedgerFacts) -> Iterator[Sample]:
    batches = {batch.id: batch for batch in facts.batches}
    for name, schedule in facts.schedules.items():
        started = [night.noted_ms for night in schedule.nights if night.state is NightState.STARTED]
        if started:
            yield Sample(of.SCHEDULE_STARTED, (name,), started[0] / 1000)
        for state in NightState:
            is_last = bool(schedule.nights) and schedule.nights[0].state is state
            yield Sample(of.SCHEDULE_LAST, (name, state.value), int(is_last))
        found = [missed(night, batches, facts.now_ms) for night in schedule.nights]
        yield Sample(of.SCHEDULE_OVERDUE, (name,), sum(still for _, still in found))
        yield Sample(of.SCHEDULE_MISSED, (name,), sum(late for late, _ in found))
        yield Sample(of.SCHEDULE_PAUSED, (name,), int(schedule.paused))
    yield Sample(of.BEATS, (), facts.beats)


def _age_s(facts: LedgerFacts, since_ms: int) -> float:
    return max(facts.now_ms - since_ms, 0) / 1000


def _word(reason: str) -> str:
    """Return a reason as a label: ours are words, and whatever else stood there must not make series of its own."""
    return reason if _WORD.fullmatch(reason) else "other"
