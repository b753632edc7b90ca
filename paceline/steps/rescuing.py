"""Restart what is overdue: lost messages, dead workers, exports that could not be written."""

from __future__ import annotations

from paceline.delays import reconcile_times_s
from paceline.replies import Moved
from paceline.model import Follow, State
from paceline.steps.context import Context


def rescue(context: Context) -> list[Follow]:
    """Return the wake-ups for everything overdue. Safe to run anywhere, at any time, any number of times at once."""
    follows = context.ledger.overdue_chains(context.waits.rescue_grace_s)
    follows += context.ledger.overdue_exports()
    for submission in context.ledger.overdue_leases():
        follows += expire(context, submission, "lease_expired")
    for follow in follows:
        context.log.info("rescue.woken", extra={"step": follow.step.value, "key": follow.key})
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
