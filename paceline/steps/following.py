"""Ask after runs that are due, many in one call: a chain per account and agent."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from paceline.circuit import Standing
from paceline.delays import list_sweep_s, next_poll_s, single_sweep_s, slack_s, tick_s
from paceline.errors import AccessDenied, AnswerTooLarge, Blocked, ProviderError, Throttled, Unavailable
from paceline.model import EndpointClass, Follow, Outcome, RunView, batch_of, external_id, split_agent_key
from paceline.replies import Due, DueRun
from paceline.steps.asking import answered, unanswered
from paceline.steps.context import Account, Context, Waits
from paceline.steps.finishing import finish

CALLS_PER_TURN = 20
"""After so many calls the chain gives way to other messages on its queue."""

TURN_S = 15.0
"""No further call after this, so that a turn ends well within its claim."""

CLOSER_LOOKS = 5
"""At most so many single questions per list call about runs that it didn't show."""


def poll(context: Context, key: str) -> tuple[list[Follow], float | None]:
    """Ask after what is due. Returns exports to wake and the seconds until the next look (None: nothing in flight)."""
    account_name, agent = split_agent_key(key)
    account = context.account(account_name)
    follows: list[Follow] = []
    again_s: float | None = 0.0
    most = _most(account)
    began_at = context.elapsed()
    for _ in range(CALLS_PER_TURN):
        if context.elapsed() - began_at > TURN_S:
            return follows, 0.0
        standing = context.circuit.look(account_name)
        if standing.wait_s > 0:
            return follows, standing.wait_s
        taken_at = context.elapsed()
        due = _take(context, account, agent, most)
        if not due.runs:
            return follows, due.again_s
        if standing.open and (wait_s := context.circuit.claim(account_name)) > 0:
            return follows, _put_off(context, account_name, agent, due, wait_s)
        try:
            found = account.provider.ask(agent, [run.run_id for run in due.runs])
        except AnswerTooLarge:
            if len(due.runs) > 1:
                most = max(len(due.runs) // 2, 1)
                again_s = _put_off(context, account_name, agent, due, 0.0)
                continue
            too_large = AnswerTooLarge("one run's answer passed the cap")
            return follows, _failed(context, account, agent, due, standing, too_large)
        except ProviderError as error:
            return follows, _failed(context, account, agent, due, standing, error)
        except Exception:
            # A defect of ours, or an answer nobody thought of: it must not keep others from being asked after.
            context.log.exception("poll.defect", extra={"account": account_name, "agent": agent})
            if len(due.runs) > 1:
                most = max(len(due.runs) // 2, 1)
                again_s = _put_off(context, account_name, agent, due, 0.0)
                continue
            return follows, _failed(context, account, agent, due, standing, None)
        follows += answered(context, account, standing)
        done, again_s = _settle(context, account, agent, due, found, taken_at)
        follows += done
        if again_s is None or again_s > 0:
            break
    return follows, again_s


def _most(account: Account) -> int:
    return max(account.provider.capabilities.asks_after_many, 1)


def _endpoint(account: Account) -> EndpointClass:
    return EndpointClass.LIST if account.provider.capabilities.asks_after_many else EndpointClass.GET


def _sweep_s(account: Account, due: Due, least_s: float) -> float:
    """Return how long a sweep of all runs in flight may take."""
    if account.provider.capabilities.asks_after_many:
        calls = math.ceil(due.in_flight / _most(account))
        return list_sweep_s(calls, account.rates[EndpointClass.LIST], least_s=least_s)
    return single_sweep_s(due.in_flight, account.rates[EndpointClass.GET])


def _take(context: Context, account: Account, agent: str, most: int) -> Due:
    endpoint = _endpoint(account)
    due = context.ledger.take_due(
        account.name,
        agent,
        rate=account.rates[endpoint],
        most=most,
        slack_s=slack_s(context.waits.poll_again_s),
        lease_s=context.waits.poll_lease_s,
        endpoint=endpoint,
    )
    if due.runs:
        # One request, made on behalf of every batch that has a run in it.
        context.ledger.count_requests(dict.fromkeys({batch_of(run.submission) for run in due.runs}, 1), endpoint)
    return due


def _settle(
    context: Context, account: Account, agent: str, due: Due, found: Mapping[str, RunView], taken_at: float
) -> tuple[list[Follow], float | None]:
    """Finish what has ended and put the rest off. A run whose step fails is asked after again when its lease ends."""
    ended: list[tuple[DueRun, RunView]] = []
    snoozed: dict[str, float] = {}
    lists = account.provider.capabilities.asks_after_many > 0
    again_s = context.waits.poll_again_s
    sweep_s = _sweep_s(account, due, again_s)
    closer_looks = 0
    for run in due.runs:
        view = ours(context, run, found.get(run.run_id))
        if lists and view is None and run.age_s > context.waits.not_found_grace_s and closer_looks < CLOSER_LOOKS:
            closer_looks += 1
            view = ours(context, run, _look_closer(context, account, agent, run))
        ending = decide(run, view, context.waits)
        if ending is None:
            snoozed[run.submission] = next_poll_s(
                due.now_s, run.age_s, sweep_s, late_s=run.late_s, least_s=again_s, together=lists
            )
            continue
        ended.append((run, ending))
    follows = finish(context, ended, round(due.now_s * 1000))
    gap_s = (
        tick_s(due.starts_per_s, due.in_flight, most_s=again_s) if lists else 0.0
    )  # a question about one run gains nothing by waiting
    earliest = context.ledger.snooze(account.name, agent, snoozed, not_before_s=due.now_s + gap_s)
    if earliest is None:
        return follows, None
    least_s = gap_s if len(due.runs) < _most(account) else 0.0
    return follows, max(max(earliest - due.now_s, least_s) - (context.elapsed() - taken_at), 0.0)


def ours(context: Context, run: DueRun, view: RunView | None) -> RunView | None:
    """Drop a run that carries somebody else's external id: its results must never be taken for ours."""
    if view is None or view.external_id in (None, external_id(run.submission)):
        return view
    context.log.error("poll.foreign_run", extra={"submission": run.submission, "run_id": run.run_id})
    return None


def decide(run: DueRun, view: RunView | None, waits: Waits) -> RunView | None:
    """Return the run's end as a view with an outcome, or None while it is to be asked after again.

    A run that succeeded, but whose results aren't all there, is asked after again: they have been paid for.
    A run that isn't there, or says a word we don't know, is asked after until the batch's time limit; then it finishes
    as failed(timed_out) and keeps its run id.
    """
    ended = view is not None and view.outcome is not None
    lacking = view is not None and view.partial and view.outcome is Outcome.SUCCEEDED
    if ended and not (lacking and run.age_s <= waits.run_limit_s):
        return view
    if run.age_s <= waits.run_limit_s:
        return None
    seen = view or RunView(run.run_id, None, "", None)
    return replace(seen, outcome=Outcome.FAILED, error_message=None)


def _look_closer(context: Context, account: Account, agent: str, run: DueRun) -> RunView | None:
    """Ask after one run that a list didn't show; None teaches nothing, for lists can lag and runs be deleted."""
    if context.limiter.take(account.name, EndpointClass.GET, account.rates[EndpointClass.GET]) > 0:
        return None
    context.ledger.count_requests(Counter([batch_of(run.submission)]), EndpointClass.GET)
    try:
        return account.provider.get(agent, run.run_id)
    except ProviderError as error:
        context.log.warning("poll.failed", extra={"run_id": run.run_id, "error": type(error).__name__})
        return None


def _failed(
    context: Context, account: Account, agent: str, due: Due, standing: Standing, error: ProviderError | None
) -> float | None:
    """Put everything off: nothing that goes wrong with a question says anything about a run.

    Only where the question can never be answered (the agent is gone, one answer is too large by itself, one run's
    question has an error for an answer) do runs past the time limit end here; a provider that is away is waited for.
    """
    one_run = not account.provider.capabilities.asks_after_many and error is not None and error.http_status is not None
    about_runs = isinstance(error, AnswerTooLarge) or (one_run and isinstance(error, Unavailable))
    if about_runs or not isinstance(error, Unavailable | Throttled | AccessDenied):
        over = [(run, decide(run, None, context.waits)) for run in due.runs]
        finish(context, [(run, end) for run, end in over if end is not None], round(due.now_s * 1000))
    endpoint = _endpoint(account)
    wait_s = 0.0
    match error:
        case Throttled(retry_after_s=seconds):
            wait_s = context.limiter.close(
                account.name, endpoint, account.rates[endpoint], seconds=seconds, why="throttled"
            )
        case Blocked():
            wait_s = context.waits.poll_refused_s
        case _:
            wait_s = 5.0
    if error is not None:
        wait_s = max(wait_s, unanswered(context, account, standing, error))
    context.log.warning(
        "poll.failed",
        extra={"account": account.name, "agent": agent, "runs": len(due.runs), "error": type(error).__name__},
    )
    return _put_off(context, account.name, agent, due, min(wait_s, 60.0))


def _put_off(context: Context, account: str, agent: str, due: Due, wait_s: float) -> float | None:
    dues = {run.submission: due.now_s + wait_s for run in due.runs}
    earliest = context.ledger.snooze(account, agent, dues, not_before_s=due.now_s + min(wait_s, 1.0))
    return None if earliest is None else max(earliest - due.now_s, 0.0)
