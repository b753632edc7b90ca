"""Chains that reschedule themselves, and what rescue has to know to restart them.

A chain is a step of which one at a time is under way per key. Its due time stands in one zset; a message only brings
somebody to look. Whoever claims it pushes the due time one lease away, so a claim whose process dies comes due again.
"""

from __future__ import annotations

from collections.abc import Sequence

from paceline import redis_keys as keys
from paceline.desk import EXPORT_LEASE_S
from paceline.model import Follow, Step
from paceline.scripts import Arg, Scripts

FARTHEST_MS = 300_000
"""No chain or export is ever due later than this from now, unless the clock was set back: leases are under a minute."""


class Chains:
    """Claim, end, wake and rescue chains. Thread-safe; safe to call from anywhere at any time."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def claim(self, step: Step, key: str, *, lease_s: float, worker: str = "", early_s: float = 0.25) -> str | None:
        """Claim a chain that is due; None if it isn't (another message carries it, or it is idle)."""
        args: list[Arg] = [f"{step}:{key}", round(lease_s * 1000), round(early_s * 1000), worker]
        return self._scripts.run("chain_claim", [keys.CHAINS], args).decode() or None

    def next(self, step: Step, key: str, claim: str, again_s: float | None) -> Follow | None:
        """End a claim: the chain is due again in `again_s`, or idle (None)."""
        args: list[Arg] = [f"{step}:{key}", claim, -1 if again_s is None else round(again_s * 1000)]
        args.append(step.value)
        wake = int(self._scripts.run("chain_next", [keys.CHAINS, *_work(step, key)], args))
        return None if wake < 0 else Follow(step, key, wake / 1000)

    def wake(self, step: Step, key: str, in_s: float = 0.0) -> Follow | None:
        """Make a chain due; None if it already is, as early."""
        wake = int(self._scripts.run("wake_chain", [keys.CHAINS], [f"{step}:{key}", round(in_s * 1000)]))
        return None if wake < 0 else Follow(step, key, wake / 1000)

    def free(self, worker: str) -> list[Follow]:
        """End the claims of a worker that is known to be gone, and return its chains to be carried on."""
        return _follows(self._scripts.run("free_chains", [keys.CHAINS], [worker]))

    def overdue(
        self, grace_s: float, *, exports_again_s: float = EXPORT_LEASE_S, most: int = 100
    ) -> tuple[list[Follow], list[str]]:
        """Return what is late, up to `most` of each kind, in one round trip: wake-ups, and submissions being submitted.

        Chains whose message is `grace_s` late, each named to one rescuer per grace time. Finished submissions whose
        export isn't recorded `exports_again_s` (30 at the most) after its start; each by itself, for one of them may
        have ended its worker, and would do so to the same others again. Submissions whose lease has run out, each
        named to one rescuer in five seconds.
        """
        grace, again = round(grace_s * 1000), round(exports_again_s * 1000)
        lease = round(EXPORT_LEASE_S * 1000)  # exports are noted with their time and a whole lease
        calls: list[tuple[list[str], list[Arg]]] = [
            ([keys.CHAINS], [grace, grace, most, FARTHEST_MS]),
            ([keys.EXPORTS], [again - lease, again, most, FARTHEST_MS]),
            ([keys.LEASES], [0, 5000, most, ""]),
        ]
        chains, exports, leases = self._scripts.run_many("overdue", calls)
        woken = [Follow(Step.EXPORT, member.decode(), alone=True) for member in exports]
        return _follows(chains) + woken, [member.decode() for member in leases]


def _follows(chains: Sequence[bytes]) -> list[Follow]:
    split = [chain.decode().partition(":") for chain in chains]
    return [Follow(Step(step), key) for step, _, key in split]


def _work(step: Step, key: str) -> list[str]:
    """Return the keys that tell whether a chain has anything to do, as `lua/chain_next.lua` wants them."""
    if step in (Step.CLOSE, Step.CANCEL):
        return [keys.batch(key)]
    account, _, agent = key.partition(":")
    match step:
        case Step.FEED:
            found = [keys.feed(account), keys.released(account)]
        case Step.POLL:
            found = [keys.due(account, agent)]
        case _:
            found = [keys.uncertain(account, agent)]
    return [keys.account(account), *found]
