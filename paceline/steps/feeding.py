"""Release planned submissions as permits become free: a chain per account."""

from __future__ import annotations

from paceline.errors import ProviderError, Unavailable
from paceline.model import EndpointClass, Follow, Rate, Step
from paceline.steps.context import Account, Context

UPLOAD_BOUND_S = 0.5
"""How soon to look again while the uploads are behind the permits."""


def feed(context: Context, account_name: str) -> tuple[list[Follow], float | None]:
    """Release what may be released now. Returns the submissions to wake and the seconds until the next look."""
    account = context.account(account_name)
    rate = account.rates[EndpointClass.ADD]
    waits = context.waits
    standing = context.circuit.look(account_name)
    if standing.wait_s > 0:
        return [], standing.wait_s
    follows: list[Follow] = []
    if standing.open and not context.views.account(account_name).paused:
        follows, wait_s = _question(context, account)
        if wait_s > 0:
            return follows, wait_s
    released = context.ledger.release(
        account_name, account.rates, window=waits.feed_window, lease_s=waits.release_lease_s
    )
    follows += [Follow(Step.SUBMIT, submission) for submission in released.submissions]
    if released.again_s is None:
        return follows, None
    # Answers may end permits before their life has, so the next one may be free that much sooner than it seems now.
    life_s = context.limiter.policy.life_s(rate)
    again_s = released.again_s - life_s if released.again_s > life_s else released.again_s
    least_s = spacing_s(rate) if released.submissions or released.again_s > 0 else UPLOAD_BOUND_S
    return follows, min(max(again_s, least_s), waits.chain_lease_s)


def _question(context: Context, account: Account) -> tuple[list[Follow], float]:
    """Ask a provider that was down after an agent, which costs nothing; return the seconds to wait, 0 if it answers."""
    agent = context.views.some_agent(account.name)
    if agent is None:
        return [], 0.0
    wait_s = context.limiter.take(account.name, EndpointClass.GET, account.rates[EndpointClass.GET])
    wait_s = wait_s or context.circuit.claim(account.name)
    if wait_s > 0:
        return [], wait_s
    try:
        account.provider.describe_agent(agent)
    except Unavailable as error:
        wait_s = context.circuit.failed(account.name, str(error), question=True)
        context.log.warning("circuit.open", extra={"account": account.name, "seconds": wait_s})
        return [], max(wait_s, 0.1)
    except ProviderError:
        pass  # it answers, and what it says about the agent is for the requests that need it
    context.log.warning("circuit.trying", extra={"account": account.name})
    return context.circuit.answered(account.name), 0.0


def spacing_s(rate: Rate) -> float:
    """Return the least time between two looks: slots that free up meanwhile are released together.

    A 240th of the window costs 0.4 % of the pace and saves most of the messages. A limit below 240 has no more slots
    than that in a window, so that there is little to save.
    """
    return min(max(rate.window_s / 240, 0.02), 0.25 if rate.limit > 240 else 0.05)
