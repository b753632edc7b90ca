"""What the answer to a reading question, or its absence, says about a provider as a whole."""

from __future__ import annotations

from paceline.circuit import Standing
from paceline.errors import AnswerTooLarge, ProviderError, Unavailable, Unreachable
from paceline.model import EndpointClass, Follow
from paceline.steps.context import Account, Context


def may_ask(context: Context, account: Account, endpoint: EndpointClass) -> tuple[Standing, float]:
    """Take what a question needs: a closed circuit, or its one question, and a permit.

    Returns how the circuit stands, for `answered` and `unanswered`, and the seconds to wait: 0 if it may be asked now.
    """
    standing = context.circuit.look(account.name)
    wait_s = standing.wait_s or context.limiter.take(account.name, endpoint, account.rates[endpoint])
    if standing.open:
        wait_s = wait_s or context.circuit.claim(account.name)
    return standing, wait_s


def answered(context: Context, account: Account, standing: Standing) -> list[Follow]:
    """Tell the circuit, where that changes anything."""
    return context.circuit.answered(account.name) if standing.open or standing.failures else []


def unanswered(context: Context, account: Account, standing: Standing, error: ProviderError) -> float:
    """Tell the circuit about a question that failed; return the seconds for which nothing is to be asked, 0 for none.

    An error is an answer. Only of the one question of an open circuit more is wanted: that the provider can answer it.
    """
    no_word = isinstance(error, Unavailable) and not isinstance(error, AnswerTooLarge)
    if isinstance(error, Unreachable) or (standing.open and no_word):
        return context.circuit.failed(account.name, str(error), question=standing.open)
    if standing.open:
        context.circuit.answered(account.name)
    return 0.0
