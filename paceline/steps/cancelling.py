"""End what a cancelled batch has under way: a chain per cancelled batch, until nothing of it is left.

What was never sent is finished at once. What is being sent finishes its request first, and what is uncertain is
reconciled first: it may have a run, and a run that nobody knows of could not be ended. Runs are deleted at a provider
that can; what they had returned by then has been paid for, and is kept and exported. Elsewhere they are followed to
their end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from paceline.batch_view import CANCELLED, BatchView
from paceline.circuit import Standing
from paceline.errors import AnswerTooLarge, Blocked, ProviderError, Throttled, Unreachable
from paceline.model import EndpointClass, ErrorNote, Follow, Outcome, RunView, State, Submission
from paceline.records import credits_by
from paceline.replies import DueRun, Lost, Moved
from paceline.results import PARTIAL
from paceline.steps.asking import answered, may_ask, unanswered
from paceline.steps.context import Account, Context
from paceline.steps.finishing import CANCELLED_BY_US, finish, keep, reported
from paceline.steps.following import decide, ours

AT_ONCE = 200
"""So many submissions are finished in one turn, so that other messages on the queue have theirs."""

LOOK_S = 1.0
"""Between two looks at what is still being sent, found out or followed."""

RUNS_AT_ONCE = 20
"""So many runs are asked after before they are ended: what was seen of them is to be fresh."""

SEEN_AT_ONCE = 2000

STALE_S = 3.0
"""Nothing is ended on what was seen longer ago."""

REFUSED_S = 5.0
"""Before what the provider didn't end is tried again."""

UNLISTED_S = 5.0
"""Between two looks while only the listing goes on."""


def cancel(context: Context, batch_id: str) -> tuple[list[Follow], float | None]:
    """Carry the cancelling of a batch on. Returns exports to wake and the seconds until it goes on, None at its end."""
    batch = context.views.batch(batch_id)
    if batch.closed or batch.paused != CANCELLED:
        return [], None
    follows = _unsent(context, batch)
    if follows:
        return follows, 0.0
    account = context.account(batch.account)
    wait_s: float | None = None
    if batch.by_state[State.RUNNING] and account.provider.capabilities.cancels:
        follows, wait_s = _end_runs(context, account, batch)
    batch = context.views.batch(batch_id)
    # What has finished may still be split in halves, which would be planned.
    left = (State.PLANNED, State.SUBMITTING, State.UNCERTAIN, State.RUNNING, State.FINISHED)
    if any(batch.by_state[state] for state in left):
        return follows, LOOK_S if wait_s is None else wait_s
    return follows, None if batch.listed else UNLISTED_S


def _unsent(context: Context, batch: BatchView) -> list[Follow]:
    """Finish what waits for its turn, and what is held: a person has just decided on all of it."""
    planned = context.views.planned(batch.id, AT_ONCE)
    waiting = [item for item in planned if item.state is State.PLANNED]
    moves = context.ledger.cancel(waiting)
    held = [context.views.find_submission(item) for item in context.views.held(batch.id, AT_ONCE)]
    for item in held:
        if item is None or item.state is not State.HELD:
            continue
        text = f"nobody knows whether it has a run at the provider (external id {item.external_id}): {item.reason}"
        moves += context.ledger.cancel([item], ErrorNote("provider", "submit", text))
    return [moved.follow for moved in moves if not isinstance(moved, Lost) and moved.follow]


def _end_runs(context: Context, account: Account, batch: BatchView) -> tuple[list[Follow], float]:
    """End some runs at the provider; those that have ended meanwhile finish as they did.

    Returns the exports to wake and the seconds to wait before the next. A run that can't be ended is followed to its
    end, and doesn't keep others.
    """
    endpoint = EndpointClass.LIST if account.provider.capabilities.asks_after_many else EndpointClass.GET
    most = min(max(account.provider.capabilities.asks_after_many, 1), RUNS_AT_ONCE)
    every = context.views.running(batch, SEEN_AT_ONCE)
    start = int(context.elapsed()) * most % max(len(every), 1)  # not always the same first, which may be refused
    items = [item for item in [*every[start:], *every[:start]] if item.state is State.RUNNING and item.run_id][:most]
    if not items:
        return [], LOOK_S
    standing, wait_s = may_ask(context, account, endpoint)
    if wait_s > 0:
        return [], wait_s
    try:
        items, found = _ask(context, account, batch, items)
    except ProviderError as error:
        return [], _failed(context, account, endpoint, standing, error)
    follows = answered(context, account, standing)
    asked_at, done = context.elapsed(), 0
    for item in items:
        if context.elapsed() - asked_at > STALE_S:
            return follows, 0.0
        try:
            more, wait_s = _end_run(context, account, batch, item, found.get(item.run_id or ""))
        except (Throttled, Unreachable, Blocked) as error:
            return follows, _failed(context, account, EndpointClass.DELETE, standing, error)
        except ProviderError as error:
            context.log.warning("cancel.failed", extra={"submission": item.id, "error": type(error).__name__})
            continue
        follows += more
        if wait_s > 0:
            return follows, wait_s
        done += len(more)
    return follows, 0.0 if done else REFUSED_S


def _ask(
    context: Context, account: Account, batch: BatchView, items: list[Submission]
) -> tuple[list[Submission], Mapping[str, RunView]]:
    """Ask after runs; where their answer is too large together, after one, and of that one nothing can be kept."""
    endpoint = EndpointClass.LIST if account.provider.capabilities.asks_after_many else EndpointClass.GET
    context.ledger.count_requests({batch.id: 1}, endpoint)
    try:
        return items, account.provider.ask(batch.agent, [item.run_id for item in items if item.run_id])
    except AnswerTooLarge:
        if len(items) > 1 and context.limiter.take(account.name, endpoint, account.rates[endpoint]) == 0:
            return _ask(context, account, batch, items[:1])
        if len(items) > 1:
            raise
        return items, {}


def _end_run(
    context: Context, account: Account, batch: BatchView, item: Submission, view: RunView | None
) -> tuple[list[Follow], float]:
    """End one run: keep what it has returned, delete it, then say so. A crash in between only repeats this."""
    now_ms = context.views.now_ms()
    run_id = item.run_id or ""
    due = DueRun(item.id, run_id, item.generation, (now_ms - (item.submitted_ms or now_ms)) / 1000)
    if view is not None and ours(context, due, view) is None:
        return [], 0.0  # somebody else's: followed like any other, to its time limit
    if view is not None and view.outcome is not None:
        ending = decide(due, view, context.waits)  # None: it has succeeded, and not all of its results are there yet
        return (finish(context, [(due, ending)], now_ms) if ending else []), 0.0
    wait_s = context.limiter.take(account.name, EndpointClass.DELETE, account.rates[EndpointClass.DELETE])
    if wait_s > 0:
        return [], wait_s
    seen = view or _kept(context, item) or RunView(run_id, None, "", None)
    ended = replace(seen, outcome=Outcome.CANCELLED, raw_status=CANCELLED_BY_US, error_message=None, partial=False)
    endings = keep(context, [(due, ended)], now_ms, suffix=PARTIAL)
    if not endings:
        return [], 0.0  # it has ended meanwhile: its whole result is there
    context.ledger.count_requests({batch.id: 1}, EndpointClass.DELETE)
    account.provider.delete(batch.agent, run_id)
    moves = context.ledger.cancelled(endings)
    record = context.results.get(item.id + PARTIAL)
    if record is not None and isinstance(moves[0], Moved):
        context.results.put({item.id: record})
    return reported(context, endings, moves), 0.0


def _kept(context: Context, item: Submission) -> RunView | None:
    """Return what an earlier turn kept of a run before it deleted it."""
    record = context.results.get(item.id + PARTIAL)
    if record is None or record["run_id"] != item.run_id:
        return None
    used = record["usage"]
    return RunView(
        run_id=item.run_id or "",
        external_id=None,
        raw_status="",
        outcome=None,
        credits=used["credits"] if used else None,
        data=record["data"],
        credits_by=credits_by(record),
    )


def _failed(
    context: Context, account: Account, endpoint: EndpointClass, standing: Standing, error: ProviderError
) -> float:
    context.log.warning("cancel.failed", extra={"account": account.name, "error": type(error).__name__})
    if isinstance(error, Throttled):
        rate = account.rates[endpoint]
        return context.limiter.close(account.name, endpoint, rate, seconds=error.retry_after_s, why="throttled")
    return max(unanswered(context, account, standing, error), REFUSED_S)
