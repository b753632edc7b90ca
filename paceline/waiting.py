"""Say what a batch waits for, in a line: decided here for the command and for the pages, from values read elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from paceline.circuit import Circuit, CircuitView
from paceline.limiter import PaceView
from paceline.model import State
from paceline.providers.kinds import provider_kind, provider_names
from paceline.views import AccountView, BatchView, Views
from paceline.wording import duration

_CLOSED = {
    "throttled": "the provider asked to slow down (429)",
    "clock": "the clock jumped; waiting one window to be sure of the pace",
    "restart": "Redis was restarted; waiting one window to be sure of the pace",
}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an account's batches depend on: the account itself, its circuit (None: closed), signs of live workers."""

    account: AccountView
    circuit: CircuitView | None
    signs: tuple[Mapping[str, object], ...]

    def reads(self, queue: str) -> bool:
        """Tell whether some live worker reads a queue."""
        return any(queue in _names(sign.get("queues")) for sign in self.signs)


def look_around(views: Views, circuit: Circuit, account: str) -> Surroundings:
    """Read what an account's batches depend on."""
    return Surroundings(views.account(account), circuit.view(account), tuple(views.workers()))


def slowed_by(batch: BatchView, around: Surroundings, pace: PaceView | None) -> str | None:
    """Say what keeps a batch from its full pace; None if nothing does.

    The text quotes people, providers and folders: make it safe for where it is shown. `pace` is None where the account
    isn't set here.
    """
    account = around.account
    if account.paused:
        return f"account {batch.account} is paused: {account.message or account.paused}"
    if batch.paused:
        return f"paused: {batch.paused_message or batch.paused}"
    if around.signs and not any(_sends_there(sign, batch) for sign in around.signs):
        return f"no live worker sends account {batch.account} to {batch.address}: give the workers this address"
    if around.circuit is not None:
        if around.circuit.trying:
            return "the provider answers again; one submission tries before the others go on"
        since = f"the provider is down, for {duration(around.circuit.since_s)} now: {around.circuit.why}"
        return f"{since}; nothing is sent, next question in {duration(around.circuit.next_s)}"
    if batch.trouble:
        return batch.trouble  # it may be about a moment that is over, so it hides nothing that is known to last
    if pace is not None and pace.closed_s > 0:
        why = _CLOSED.get(pace.closed_why or "", pace.closed_why or "closed")
        return f"{why}; next try in {duration(pace.closed_s)}"
    if number := batch.by_state[State.UNCERTAIN]:
        known = batch.provider in provider_names()
        if known and not provider_kind(batch.provider).capabilities.finds_many:
            return f"{number} without a clear answer, and {batch.provider} can't be asked whether it has a run"
        return f"{number} without a clear answer: asking the provider before anything is sent again"
    return None


def stopped_by(batch: BatchView, around: Surroundings, pace: PaceView | None, queue: str) -> str | None:
    """Say the same where nobody may be at work: also that a person or a worker is missing. `queue` is the account's."""
    if batch.closed:
        return None
    if not (batch.paused or around.account.paused):
        if waits_for_a_person(batch):
            return "a person's decision on what is held"
        if not around.reads(queue):
            return "no live worker: go on with the same `paceline run …`, or with `paceline up`"
    return slowed_by(batch, around, pace)


def waits_for_a_person(batch: BatchView) -> bool:
    """Tell whether all that is left of a batch is held."""
    held = batch.by_state[State.HELD]
    return bool(held) and batch.total == batch.by_state[State.EXPORTED] + held


def _names(value: object) -> Iterable[object]:
    return value if isinstance(value, list) else ()


def _sends_there(sign: Mapping[str, object], batch: BatchView) -> bool:
    addresses = sign.get("addresses")
    return isinstance(addresses, dict) and addresses.get(batch.account) == batch.address
