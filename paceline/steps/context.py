"""What every step works with: the state, the outside world, the waiting times."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from paceline.chains import Chains
from paceline.circuit import Circuit
from paceline.clocks import boottime
from paceline.delays import upload_deadline_s
from paceline.errors import ConfigError
from paceline.known import KnownFiles
from paceline.ledger import Ledger
from paceline.limiter import Limiter
from paceline.model import Choice, EndpointClass, Rate, Submission
from paceline.providers.base import Provider
from paceline.results import Results
from paceline.roots import Root
from paceline.sinks.base import Sink
from paceline.sinks.turns import Turns
from paceline.spool import Spool
from paceline.views import Views

WAIT_LONGEST_S = 120.0
"""The longest time that any provider waits for a run in the call that starts it."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Every waiting time, in seconds; the settings of the same names say what they are for."""

    settle_s: float = 120.0
    hold_after_s: float = 3600.0
    first_poll_s: float = 1.5
    poll_again_s: float = 5.0
    poll_refused_s: float = 30.0
    poll_lease_s: float = 45.0
    not_found_grace_s: float = 120.0
    run_limit_s: float = 21_600.0
    upload_base_s: float = 60.0
    upload_bytes_per_s: float = 1_000_000.0
    lease_extra_s: float = 30.0
    release_lease_s: float = 30.0
    chain_lease_s: float = 45.0
    rescue_grace_s: float = 5.0
    export_again_s: float = 30.0
    feed_window: int = 64
    retry_failed_runs: int = 0

    def deadline_s(self, size_bytes: int) -> float:
        """Return how long a request with so many bytes may take."""
        return upload_deadline_s(size_bytes, base_s=self.upload_base_s, bytes_per_s=self.upload_bytes_per_s)

    def lease_s(self, size_bytes: int) -> float:
        """Return after how long such a request has surely ended."""
        return self.deadline_s(size_bytes) + self.lease_extra_s


@dataclass(frozen=True, slots=True)
class Account:
    """A provider under one credential, with the rates that are allowed. `address` is where this process sends to.

    `resubmits`: what can't be known to be accepted is sent again, where the provider can't be asked (else held).
    """

    name: str
    provider: Provider
    rates: Mapping[EndpointClass, Rate]
    address: str = ""
    resubmits: bool = False


@dataclass(frozen=True, slots=True)
class Context:
    """The collaborators of the steps, each replaceable in a simulation.

    `account(name)` raises `ConfigError` for an account this process doesn't know; `source` and `sink` open a batch's
    source root and destinations; `spool` is this machine's; `worker` names this process in intents and logs; `elapsed`
    is a clock that counts suspension, in seconds.
    """

    ledger: Ledger
    chains: Chains
    limiter: Limiter
    circuit: Circuit
    views: Views
    known: KnownFiles
    results: Results
    accounts: Mapping[str, Account]
    source: Callable[[str], Root]
    sink: Callable[[str], Sink]
    spool: Spool
    turns: Turns = field(default_factory=Turns)
    waits: Waits = field(default_factory=Waits)
    worker: str = "worker"
    elapsed: Callable[[], float] = boottime
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("paceline"))

    def lease_s(self, item: Submission) -> float:
        """Return after how long a request for a submission, begun now or before, has surely ended."""
        waits = self.views.batch(item.batch).choices.get(Choice.WAIT, "0") != "0"
        return self.waits.lease_s(item.size_bytes) + (WAIT_LONGEST_S if waits else 0.0)

    def account(self, name: str) -> Account:
        """Return an account of this process. Raises `ConfigError`."""
        if name not in self.accounts:
            known = ", ".join(sorted(self.accounts)) or "none"
            raise ConfigError(f"account {name!r} is not configured in this process (known: {known})")
        return self.accounts[name]
