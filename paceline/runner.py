"""Carry a submission, or a chain, one step on and say what to schedule next.

A step may run twice at once, late, or never: the ledger decides what counts. So whoever calls this may lose, repeat
and reorder messages at will.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

from redis.exceptions import RedisError

from paceline.model import Follow, Step
from paceline.steps import cancelling, closing, exporting, feeding, following, reconciling, rescuing, submitting
from paceline.steps.context import Context

Chain = Callable[[Context, str], tuple[list[Follow], float | None]]

CHAINS: Mapping[Step, Chain] = {
    Step.FEED: feeding.feed,
    Step.POLL: following.poll,
    Step.RECONCILE: reconciling.reconcile,
    Step.CLOSE: closing.close,
    Step.CANCEL: cancelling.cancel,
}
"""The steps of which one at a time is under way per key, each rescheduling itself until nothing is left to do."""

LONGEST_COUNTDOWN_S = 60.0
"""Far below any visibility timeout: a longer wait is cut into several."""


ELSEWHERE_S = 0.5
"""A chain that this process can't carry, for want of its account, is left to another one this much later."""

RETRY_S = 1.0
"""A chain whose turn failed is due again this much later; rescue wakes it."""


class Runner:
    """The one entry for every message. Thread-safe."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def run(self, step: Step, *keys: str) -> list[Follow]:
        """Do one step, for each of several keys; return the wake-ups to send, each of them only a hint."""
        match step:
            case Step.SUBMIT:
                return [follow for key in keys for follow in submitting.submit(self.context, key)]
            case Step.EXPORT:
                return exporting.export(self.context, keys)
            case _:
                return [follow for key in keys for follow in self._chain(step, key)]

    def rescue(self) -> list[Follow]:
        """Return wake-ups for everything overdue."""
        return rescuing.rescue(self.context)

    def _chain(self, step: Step, key: str) -> list[Follow]:
        chains = self.context.chains
        claim = chains.claim(step, key, lease_s=self.context.waits.chain_lease_s, worker=self.context.worker)
        if claim is None:
            return []
        if not self._fits(step, key):
            onward = chains.next(step, key, claim, ELSEWHERE_S)
            return [onward] if onward else []
        try:
            follows, again_s = CHAINS[step](self.context, key)
        except Exception:
            with suppress(RedisError):  # then its lease has to run out
                chains.next(step, key, claim, RETRY_S)
            raise
        onward = chains.next(step, key, claim, None if again_s is None else min(again_s, LONGEST_COUNTDOWN_S))
        return [*follows, onward] if onward else follows

    def _fits(self, step: Step, key: str) -> bool:
        """Tell whether this process means the same account as the ledger: the same name, at the same address.

        A look at another server would show that nothing is there, and what is not there is sent again.
        """
        name = self.context.views.batch(key).account if step in (Step.CLOSE, Step.CANCEL) else key.partition(":")[0]
        account = self.context.accounts.get(name)
        if account is not None and account.address == self.context.views.account(name).address:
            return True
        self.context.log.debug("chain.elsewhere", extra={"step": step.value, "account": name})
        return False
