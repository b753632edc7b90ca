"""Release planned submissions as permits become free: a chain per account."""

from __future__ import annotations

from paceline.model import EndpointClass, Follow, Rate, Step
from paceline.steps.context import Context

UPLOAD_BOUND_S = 0.5
"""How soon to look again while the uploads are behind the permits."""


def feed(context: Context, account_name: str) -> tuple[list[Follow], float | None]:
    """Release what may be released now. Returns the submissions to wake and the seconds until the next look."""
    account = context.account(account_name)
    rate = account.rates[EndpointClass.ADD]
    waits = context.waits
    released = context.ledger.release(account_name, rate, window=waits.feed_window, lease_s=waits.release_lease_s)
    follows = [Follow(Step.SUBMIT, submission) for submission in released.submissions]
    if released.again_s is None:
        return follows, None
    least_s = spacing_s(rate) if released.submissions or released.again_s > 0.01 else UPLOAD_BOUND_S
    return follows, min(max(released.again_s, least_s), waits.chain_lease_s)


def spacing_s(rate: Rate) -> float:
    """Return the least time between two looks: slots that free up meanwhile are released together.

    A 240th of the window costs 0.4 % of the pace and saves most of the messages.
    """
    return min(max(rate.window_s / 240, 0.02), 0.25)
