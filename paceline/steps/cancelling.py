"""End what a cancelled batch has under way: a chain per cancelled batch, until nothing of it is left.

What was never sent is finished at once. What is being sent finishes its request first, and what is uncertain is
reconciled first: it may have a run, and a run that nobody knows of could not be ended. Runs are deleted at a provider
that can; what they had returned by then has been paid for, and is kept and exported. Elsewhere they are followed to
their end.
"""

from __future__ import annotations

from dataclasses import replace

from paceline.errors import AnswerTooLarge, ProviderError, Throttled, Unavailable
from paceline.model import EndpointClass, ErrorNote, Follow, Outcome, RunView, State, Submission
from paceline.replies import DueRun, Lost
from paceline.steps.context import Account, Context
from paceline.steps.finishing import CANCELLED_BY_US, finish, keep, reported
from paceline.views import BatchView

AT_ONCE = 200
"""So many submissions are finished in one turn, so that other messages on the queue have theirs."""

LOOK_S = 1.0
"""Between two looks at what is still being sent, found out or followed."""

CANCELLED = "cancelled"


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
    if batch.listed and not any(batch.by_state[state] for state in left):
        return follows, None
    return follows, LOOK_S if wait_s is None else wait_s


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


def _end_runs(context: Context, account: Account, batch: BatchView) -> tuple[list[Follow], float | None]:
    """End runs at the provider, as many as it allows now; those that have ended meanwhile finish as they did.

    Returns the exports to wake and the seconds to wait before the next of them, None where the pace allows more.
    """
    lists = max(account.provider.capabilities.asks_after_many, 1)
    endpoint = EndpointClass.LIST if account.provider.capabilities.asks_after_many else EndpointClass.GET
    deletes = context.limiter.view(account.name, EndpointClass.DELETE, account.rates[EndpointClass.DELETE])
    most = min(lists, max(deletes.rate.limit - deletes.used, 1))
    items = [item for item in context.views.running(batch, most) if item.state is State.RUNNING and item.run_id]
    standing = context.circuit.ask(account.name)
    wait_s = standing.wait_s or context.limiter.take(account.name, endpoint, account.rates[endpoint])
    if not items or wait_s > 0:
        return [], wait_s or None
    context.ledger.count_requests({batch.id: 1}, endpoint)
    try:
        found = account.provider.ask(batch.agent, [item.run_id for item in items if item.run_id])
        follows: list[Follow] = context.circuit.answered(account.name) if standing.open or standing.failures else []
        for item in items:
            view = found.get(item.run_id or "")
            more, wait_s = _end_run(context, account, batch, item, view)
            follows += more
            if wait_s > 0:
                return follows, wait_s
    except ProviderError as error:
        return [], _failed(context, account, error)
    return follows, 0.0


def _end_run(
    context: Context, account: Account, batch: BatchView, item: Submission, view: RunView | None
) -> tuple[list[Follow], float]:
    """End one run: keep what it has returned, delete it, then say so. A crash in between only repeats this."""
    now_ms = context.views.now_ms()
    run_id = item.run_id or ""
    due = DueRun(item.id, run_id, item.generation, (now_ms - (item.submitted_ms or now_ms)) / 1000)
    if view is not None and view.outcome is not None:
        return finish(context, [(due, view)], now_ms), 0.0
    wait_s = context.limiter.take(account.name, EndpointClass.DELETE, account.rates[EndpointClass.DELETE])
    if wait_s > 0:
        return [], wait_s
    seen = view or RunView(run_id, None, "", None)
    kept = context.results.get(item.id) if view is None else None
    if kept is not None:  # deleted by an earlier turn, which kept what there was
        seen = replace(seen, data=kept["data"])
    ended = replace(seen, outcome=Outcome.CANCELLED, raw_status=CANCELLED_BY_US, error_message=None, partial=False)
    endings = keep(context, [(due, ended)], now_ms)
    context.ledger.count_requests({batch.id: 1}, EndpointClass.DELETE)
    account.provider.delete(batch.agent, run_id)
    return reported(context, endings, context.ledger.cancelled(endings)), 0.0


def _failed(context: Context, account: Account, error: ProviderError) -> float:
    context.log.warning("cancel.failed", extra={"account": account.name, "error": type(error).__name__})
    if isinstance(error, Throttled):
        delete = EndpointClass.DELETE
        return context.limiter.close(
            account.name, delete, account.rates[delete], seconds=error.retry_after_s, why="throttled"
        )
    if isinstance(error, Unavailable) and not isinstance(error, AnswerTooLarge):
        return max(context.circuit.failed(account.name, str(error)), LOOK_S)
    return 5.0
