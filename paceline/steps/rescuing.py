"""Restart what is overdue: lost messages, dead workers, exports that could not be written."""

from __future__ import annotations

from paceline.chains import Chains
from paceline.delays import reconcile_times_s
from paceline.ledger import Ledger
from paceline.model import Follow, State
from paceline.replies import Moved
from paceline.steps.context import Context
from paceline.steps.verdicts import hand_in
from paceline.views import Views


def rescue(context: Context) -> list[Follow]:
    """Return the wake-ups for everything overdue. Safe to run anywhere, at any time, any number of times at once."""
    follows = hand_in(context)
    late, leases = context.chains.overdue(context.waits.rescue_grace_s, exports_again_s=context.waits.export_again_s)
    follows += late
    for submission in leases:
        follows += expire(context, submission, "lease_expired")
    for follow in follows:
        context.log.info("rescue.woken", extra={"step": follow.step.value, "key": follow.key})
    return follows


def worker_died(ledger: Ledger, chains: Chains, views: Views, worker: str, settle_s: float) -> list[Follow]:
    """Take what a worker was sending for uncertain and carry its chains on: its process is known to be gone.

    What it had messages for and had not begun is released again. Only whoever saw the process end may call this; others
    wait for the leases.
    """
    follows = chains.free(worker)
    again = (ledger.release_again(account) for account in views.accounts())
    follows += [follow for follow in again if follow]
    for submission, sender in views.senders().items():
        item = views.find_submission(submission) if sender == worker else None
        if item is None or item.state is not State.SUBMITTING:
            continue
        first_look_s = reconcile_times_s(settle_s)[0]
        moved = ledger.uncertain(item.id, item.generation, reason="worker_died", first_look_s=first_look_s)
        follows += [moved.follow] if isinstance(moved, Moved) and moved.follow else []
    return follows


def expire(context: Context, submission: str, reason: str) -> list[Follow]:
    """Take a submission whose sender is gone for uncertain: its POST may have been accepted."""
    item = context.views.find_submission(submission)
    if item is None or item.state is not State.SUBMITTING:
        return []
    first_look_s = reconcile_times_s(context.waits.settle_s)[0]
    moved = context.ledger.uncertain(item.id, item.generation, reason=reason, first_look_s=first_look_s)
    if not isinstance(moved, Moved):
        return []
    context.log.warning("submission.uncertain", extra={"submission": item.id, "reason": reason})
    return [moved.follow] if moved.follow else []
