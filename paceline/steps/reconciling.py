"""Find out whether uncertain submissions have a run: a chain per account and agent.

A list can lag, be cut, or ignore its filter, so absence is proven only by two complete lists after the settling time,
each of which shows a run that is known to exist (the positive control), where there is one. Presence needs one list.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from paceline.circuit import Standing
from paceline.delays import reconcile_times_s
from paceline.errors import ProviderError, Throttled
from paceline.model import EndpointClass, Follow, RunView, State, Submission, batch_of, external_id, split_agent_key
from paceline.replies import Duplicate, Moved
from paceline.steps.asking import answered, may_ask, unanswered
from paceline.steps.context import Account, Context
from paceline.steps.verdicts import remembered

AT_ONCE = 50
"""Submissions looked at in one turn where nothing is asked."""

ATTEMPTS_MOST = 3
"""After so many attempts with a lost answer, `on_uncertain` doesn't send a submission again: each may be paid for."""

LOOKS_NEEDED = 2
APART_S = 1.0
"""Two looks that count as proof lie at least this far apart."""


def reconcile(context: Context, key: str) -> tuple[list[Follow], float | None]:
    """Look for the uncertain submissions that are due. Returns wake-ups and the seconds until the next look."""
    account_name, agent = split_agent_key(key)
    account = context.account(account_name)
    most = account.provider.capabilities.finds_many
    ids = context.views.uncertain_due(account_name, agent, max(most - 1, 1) if most else AT_ONCE)
    found_items = [context.views.find_submission(item) for item in ids]
    items = [item for item in found_items if item is not None and item.state is State.UNCERTAIN]
    follows: list[Follow] = []
    for item in list(items):
        known = remembered(context, item)
        if known is not None:
            follows += known
            items.remove(item)
    if items and most == 0:
        follows += _unasked(context, account, items)
    elif items:
        standing, wait_s = may_ask(context, account, EndpointClass.LIST)
        if wait_s > 0:
            return follows, wait_s
        found, wait = _look(context, account, agent, items, standing)
        follows += found
        if wait is not None:
            return follows, wait
    return follows, context.views.next_uncertain_s(account_name, agent)


def _unasked(context: Context, account: Account, items: Sequence[Submission]) -> list[Follow]:
    """Hold what nobody can be asked about; where the account is set so, send it again once it has settled.

    A submission that this ledger didn't see begin is held in any case: a ledger rebuilt after a loss doubts everything,
    and would pay for all of it again. So is one whose answers are lost time and again.
    """
    follows: list[Follow] = []
    for item in items:
        if not account.resubmits or not 0 < item.attempt < ATTEMPTS_MOST:
            follows += _hold(context, [item], "no_way_to_know")
            continue
        now_ms = context.views.now_ms()
        left_s = context.waits.settle_s - (now_ms - (item.doubt_ms or now_ms)) / 1000
        # Where another Redis has taken over, this look begins the settling anew, and what follows is lost.
        context.ledger.absent(
            item.id,
            item.generation,
            counts=False,
            needed=LOOKS_NEEDED,
            next_look_s=max(left_s, APART_S),
            apart_s=APART_S,
            lease_s=context.lease_s(item),
        )
        if left_s > 0:
            continue
        moved = context.ledger.resubmit(item.id, item.generation, reason="on_uncertain")
        if isinstance(moved, Moved):
            context.log.warning("submission.resubmitted", extra={"submission": item.id, "attempt": item.attempt})
            follows += [moved.follow] if moved.follow else []
    return follows


def _look(
    context: Context, account: Account, agent: str, items: Sequence[Submission], standing: Standing
) -> tuple[list[Follow], float | None]:
    asked_ms = context.views.now_ms()  # before the answer: what began later isn't in it
    control = context.views.known_external_id(account.name, agent)
    wanted = [item.external_id for item in items] + ([control] if control else [])
    context.ledger.count_requests(dict.fromkeys({item.batch for item in items}, 1), EndpointClass.LIST)
    try:
        runs = account.provider.find(agent, wanted)
    except ProviderError as error:
        context.log.warning("reconcile.failed", extra={"account": account.name, "error": type(error).__name__})
        if isinstance(error, Throttled):
            rate = account.rates[EndpointClass.LIST]
            context.limiter.close(account.name, EndpointClass.LIST, rate, seconds=error.retry_after_s, why="throttled")
        unanswered(context, account, standing, error)
        return _hold_old(context, items), 5.0
    by_external: Mapping[str, list[RunView]] = _by_external(runs)
    trusted = control is None or control in by_external
    follows = answered(context, account, standing)
    for item in items:
        hits = [run for run in by_external.get(item.external_id, []) if run.run_id not in item.past]
        follows += _found(context, item, hits) if hits else _missed(context, item, trusted, asked_ms)
    return follows, None


def _by_external(runs: Sequence[RunView]) -> dict[str, list[RunView]]:
    grouped: defaultdict[str, list[RunView]] = defaultdict(list)
    for run in runs:
        if run.external_id is not None:
            grouped[run.external_id].append(run)
    for hits in grouped.values():
        hits.sort(key=lambda run: (len(run.run_id), run.run_id))  # the provider counts upwards: oldest first
    return dict(grouped)


def _found(context: Context, item: Submission, hits: Sequence[RunView]) -> list[Follow]:
    """Adopt the oldest run; any other is a duplicate, reported by the ledger."""
    follows: list[Follow] = []
    for run in hits:
        moved = context.ledger.accepted(item.id, run, attempt=None, first_poll_s=0.0)
        if isinstance(moved, Duplicate):
            context.log.error("submission.duplicate_run", extra={"submission": item.id, "run_id": run.run_id})
        elif isinstance(moved, Moved):
            context.log.info("submission.found", extra={"submission": item.id, "run_id": run.run_id})
            follows += [moved.follow] if moved.follow else []
    return follows


def _missed(context: Context, item: Submission, trusted: bool, asked_ms: int) -> list[Follow]:
    """Note a look without the submission; it counts only after the settling time and from a trusted list."""
    age_s = (asked_ms - (item.doubt_ms or asked_ms)) / 1000
    settled = age_s >= context.waits.settle_s
    if age_s > context.waits.hold_after_s:
        return _hold(context, [item], "no_proof")
    moved = context.ledger.absent(
        item.id,
        item.generation,
        counts=settled and trusted,
        needed=LOOKS_NEEDED,
        next_look_s=next_look_s(age_s, context.waits.settle_s),
        apart_s=APART_S,
        lease_s=context.lease_s(item),
    )
    if isinstance(moved, Moved):
        context.log.warning("submission.absent", extra={"submission": item.id})
        return [moved.follow] if moved.follow else []
    return []


def next_look_s(age_s: float, settle_s: float) -> float:
    """Return the seconds until the next look at a submission that has been uncertain for `age_s`."""
    ahead = [at - age_s for at in reconcile_times_s(settle_s) if at > age_s + 0.05]
    return max(ahead[0] if ahead else max(settle_s / 4, APART_S), min(APART_S, 0.5))


def _hold_old(context: Context, items: Sequence[Submission]) -> list[Follow]:
    now_ms = context.views.now_ms()
    limit_ms = context.waits.hold_after_s * 1000
    return _hold(context, [item for item in items if now_ms - (item.doubt_ms or now_ms) > limit_ms], "no_proof")


def _hold(context: Context, items: Sequence[Submission], reason: str) -> list[Follow]:
    for item in items:
        context.ledger.hold(item.id, item.generation, reason=reason)
        context.log.error("submission.held", extra={"submission": item.id, "reason": reason})
    return []


def audit(context: Context, account: Account, agent: str, submissions: Sequence[str]) -> int:
    """Compare the provider's runs with the ledger's for some submissions; an extra run is counted and reported.

    Returns how many runs the ledger knows and the answer lacks: such an answer shows that nothing is too many only
    of those it has. Raises `ProviderError` if the provider can't be asked.
    """
    context.ledger.count_requests({batch_of(submissions[0]): 1}, EndpointClass.LIST)
    by_external = _by_external(account.provider.find(agent, [external_id(item) for item in submissions]))
    known = context.views.run_ids(submissions)
    for item in submissions:
        for run in by_external.get(external_id(item), []):
            if run.run_id in known[item][0]:
                continue
            moved = context.ledger.accepted(item, run, attempt=None, first_poll_s=0.0)
            if isinstance(moved, Duplicate):
                facts = {"submission": item, "run_id": run.run_id, "credits": run.credits}
                context.log.error("audit.extra_run", extra=facts)
    shown = {run.run_id for hits in by_external.values() for run in hits}
    return len({run for _, expected in known.values() for run in expected} - shown)
