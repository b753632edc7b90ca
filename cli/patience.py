"""Ask a provider something, at the account's pace, with a few tries: for verbs that need an answer now."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from config.accounts import Account
from paceline.errors import Blocked, ProviderError, Throttled
from paceline.limiter import Limiter
from paceline.model import EndpointClass

T = TypeVar("T")

TRIES = 3
PAUSE_S = 1.0


def ask(account: Account, limiter: Limiter | None, endpoint: EndpointClass, question: Callable[[], T]) -> T:
    """Ask, with a permit for each try; without a limiter (no ledger), evenly. Blocks for as long as that takes.

    Raises `Blocked` at once, any other `ProviderError` after three tries.
    """
    rate = account.rates[endpoint]
    for attempt in range(1, TRIES + 1):
        _wait(account, limiter, endpoint)
        try:
            return question()
        except Blocked:
            raise
        except Throttled as error:
            if limiter is not None:
                limiter.close(account.name, endpoint, rate, seconds=error.retry_after_s, why="throttled")
        except ProviderError as error:
            if attempt == TRIES:
                raise type(error)(f"{account.url} can't be asked now: {error}; try again later") from error
        time.sleep(PAUSE_S)
    raise ProviderError(f"{account.url} refuses every request for now (429); try again in a few minutes")


def _wait(account: Account, limiter: Limiter | None, endpoint: EndpointClass) -> None:
    rate = account.rates[endpoint]
    if limiter is None:
        time.sleep(rate.window_s / rate.limit)
        return
    while (wait_s := limiter.take(account.name, endpoint, rate)) > 0:
        time.sleep(min(wait_s, PAUSE_S))
